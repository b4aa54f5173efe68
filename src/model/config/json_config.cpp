#include "model/config/json_config.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ios>
#include <nlohmann/json.hpp>
#include <sstream>
#include <streambuf>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "os/file_reader.hpp"

namespace tapedeck::internal {
namespace {

using Json = nlohmann::json;

/// The numbers, or the texts, of a list.
struct List {
  std::uint64_t count = 0;
  std::vector<std::int64_t> whole;
  std::vector<double> reals;
  std::vector<std::string> texts;
  bool nested = false;  ///< Its elements are objects or lists, with entries of their own.

  Metadata::Value value() && {
    if (count > Metadata::kLongestArray) return Metadata::Omitted{count};
    if (whole.size() == count) return std::move(whole);
    if (reals.size() == count) return std::move(reals);
    if (texts.size() == count) return std::move(texts);
    return Metadata::Omitted{count};
  }
};

/// An object or a list that is open.
struct Level {
  bool object;
  std::size_t path;      ///< Length of the path to it.
  std::uint64_t offset;  ///< Of the entry that it is.
  std::unordered_set<std::string> keys{};
  List list{};
};

/// Takes the parser's events.
class Flattener : public nlohmann::json_sax<Json> {
 public:
  /// @param text  where the parser reads; its position tells where an entry is.
  Flattener(const FileReader& file, std::streambuf* text) : file_(file), text_(text) {}

  [[nodiscard]] Metadata take() {
    Metadata metadata;
    for (Metadata::Entry& entry : entries_) {
      metadata.add(std::move(entry.key), std::move(entry.value), entry.offset);
    }
    return metadata;
  }

  bool null() override { return add(std::monostate{}); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(std::int64_t{value}); }
  bool number_unsigned(number_unsigned_t value) override { return add(std::uint64_t{value}); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }  // JSON has none

  bool start_object(std::size_t /*elements*/) override { return open(true); }
  bool start_array(std::size_t /*elements*/) override { return open(false); }
  bool key(string_t& name) override;
  bool end_object() override {
    levels_.pop_back();
    return close_element();
  }
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const Json::exception& error) override;

 private:
  [[nodiscard]] std::uint64_t position() const {
    return static_cast<std::uint64_t>(text_->pubseekoff(0, std::ios::cur, std::ios::in));
  }
  bool add(Metadata::Value value);
  bool open(bool object);
  bool close_element();
  void add_entry(Metadata::Value value, std::uint64_t offset);
  void forget();

  const FileReader& file_;
  std::streambuf* text_;
  std::string path_;
  std::uint64_t offset_ = 0;  ///< Of the entry that is being read.
  std::vector<Level> levels_;
  std::vector<Metadata::Entry> entries_;
  std::size_t repeats_ = 0;
};

void Flattener::add_entry(Metadata::Value value, std::uint64_t offset) {
  if (entries_.size() == kMostConfigEntries) {
    file_.refuse(offset, "more than " + std::to_string(kMostConfigEntries) + " entries",
                 "is it a model's config.json?");
  }
  entries_.push_back({path_, std::move(value), offset});
}

bool Flattener::add(Metadata::Value value) {
  if (levels_.empty()) file_.refuse(0, "no JSON object", "is it a model's config.json?");
  Level& level = levels_.back();
  if (level.object) {
    add_entry(std::move(value), offset_);
    return true;
  }
  List& list = level.list;
  if (++list.count > Metadata::kLongestArray) return true;
  if (const auto* flag = std::get_if<bool>(&value)) {
    list.whole.push_back(*flag ? 1 : 0);
  } else if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    if (*number <= INT64_MAX) list.whole.push_back(static_cast<std::int64_t>(*number));
    list.reals.push_back(static_cast<double>(*number));
  } else if (const auto* negative = std::get_if<std::int64_t>(&value)) {
    list.whole.push_back(*negative);
    list.reals.push_back(static_cast<double>(*negative));
  } else if (const auto* real = std::get_if<double>(&value)) {
    list.reals.push_back(*real);
  } else if (auto* text = std::get_if<std::string>(&value)) {
    list.texts.push_back(std::move(*text));
  }
  return true;
}

bool Flattener::open(bool object) {
  if (levels_.size() == kMostConfigDepth) {
    file_.refuse(position(), "nested more than " + std::to_string(kMostConfigDepth) + " deep",
                 "is it a model's config.json?");
  }
  if (levels_.empty() && !object) file_.refuse(0, "no JSON object", "is it a model's config.json?");
  const bool element = !levels_.empty() && !levels_.back().object;
  if (element) {
    List& list = levels_.back().list;
    list.nested = true;
    path_.resize(levels_.back().path);
    path_ += "." + std::to_string(list.count++);
  }
  levels_.push_back({.object = object, .path = path_.size(), .offset = offset_});
  return true;
}

bool Flattener::key(string_t& name) {
  Level& level = levels_.back();
  path_.resize(level.path);
  if (!path_.empty()) path_ += '.';
  path_ += name;
  // The parser stands behind the closing quote.
  const std::uint64_t length = name.size() + 2;
  offset_ = position() >= length ? position() - length : 0;
  if (!level.keys.insert(name).second) forget();
  return true;
}

// The key was there before: the later value counts.
void Flattener::forget() {
  if (++repeats_ > kMostConfigRepeats) {
    file_.refuse(offset_, "more than " + std::to_string(kMostConfigRepeats) + " keys are repeated",
                 "is it a model's config.json?");
  }
  std::erase_if(entries_, [&](const Metadata::Entry& entry) {
    return entry.key.starts_with(path_) &&
           (entry.key.size() == path_.size() || entry.key[path_.size()] == '.');
  });
}

bool Flattener::close_element() {
  if (!levels_.empty()) path_.resize(levels_.back().path);
  return true;
}

bool Flattener::end_array() {
  Level level = std::move(levels_.back());
  levels_.pop_back();
  path_.resize(level.path);
  if (!level.list.nested) add_entry(std::move(level.list).value(), level.offset);
  return close_element();
}

bool Flattener::parse_error(std::size_t position, const std::string& /*token*/,
                            const Json::exception& error) {
  // Its text starts with a number of its own and "parse error".
  const std::string_view text = error.what();
  const std::size_t begin = text.find("parse error");
  file_.refuse(position == 0 ? 0 : position - 1,
               "no JSON: " + std::string(text.substr(begin == std::string_view::npos ? 0 : begin)),
               "is it a model's config.json, and whole?");
}

/// Python writes Infinity and NaN, which JSON has not: they become texts of the same length.
void quote_words(std::string& text) {
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (inside && text[i] == '\\') {
      ++i;
      continue;
    }
    if (text[i] == '"') inside = !inside;
    if (inside) continue;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (text.compare(i, word.size(), word) != 0) continue;
      text[i] = text[i + word.size() - 1] = '"';
      i += word.size() - 1;
      break;
    }
  }
}

}  // namespace

Metadata read_json_config(const std::filesystem::path& path) {
  FileReader file(path);
  if (file.size() > kMostConfigBytes) {
    file.refuse(kMostConfigBytes, "longer than any config.json", "is it a model's config.json?");
  }
  std::string text = file.text(file.size(), "the configuration");
  quote_words(text);
  std::istringstream stream(std::move(text));
  Flattener flattener(file, stream.rdbuf());
  Json::sax_parse(stream, &flattener);
  return flattener.take();
}

}  // namespace tapedeck::internal
