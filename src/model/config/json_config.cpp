// SPDX-License-Identifier: Apache-2.0
#include "model/config/json_config.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "model/config/json_source.hpp"
#include "os/file_reader.hpp"

namespace tapedeck::internal {
namespace {

constexpr const char* kIsItConfig = "check that it is a model's config.json";

/// The numbers or the strings of a list.
struct List {
  std::uint64_t count = 0;
  std::vector<std::int64_t> whole;
  std::vector<double> reals;
  std::vector<std::string> texts;
  bool nested = false;  ///< Its elements are objects or lists, with entries of their own.

  void add_element(std::monostate /*null*/) {}
  void add_element(bool flag) { whole.push_back(flag ? 1 : 0); }
  void add_element(std::uint64_t number) {
    if (number <= INT64_MAX) whole.push_back(static_cast<std::int64_t>(number));
    reals.push_back(static_cast<double>(number));
  }
  void add_element(std::int64_t number) {
    whole.push_back(number);
    reals.push_back(static_cast<double>(number));
  }
  void add_element(double number) { reals.push_back(number); }
  void add_element(std::string text) { texts.push_back(std::move(text)); }

  Metadata::Value value() && {
    if (count > Metadata::kLongestArray) return Metadata::Omitted{count};
    if (whole.size() == count) return std::move(whole);
    if (reals.size() == count) return std::move(reals);
    if (texts.size() == count) return std::move(texts);
    return Metadata::Omitted{count};
  }
};

/// An object or a list that the parser is inside of.
struct Level {
  bool object;
  std::size_t path;      ///< Length of the path to this level.
  std::uint64_t offset;  ///< Offset of its entry in the file.
  std::unordered_set<std::string> keys{};
  List list{};
};

/// Collects the entries of all levels from the parser's events.
class Flattener final : public JsonHandler {
 public:
  using JsonHandler::JsonHandler;

  [[nodiscard]] Metadata take() {
    Metadata metadata;
    for (Metadata::Entry& entry : entries_) {
      metadata.add(std::move(entry.key), std::move(entry.value), entry.offset);
    }
    return metadata;
  }

  bool null() { return add_value(std::monostate{}); }
  bool boolean(bool value) { return add_value(value); }
  bool number_integer(std::int64_t value) { return add_value(value); }
  bool number_unsigned(std::uint64_t value) { return add_value(value); }
  bool number_float(double value, const std::string& /*text*/) { return add_value(value); }
  bool string(std::string& value) { return add_value(std::move(value)); }

  bool start_object(std::size_t /*elements*/) { return open_level(true); }
  bool end_object() {
    levels_.pop_back();
    return close_element();
  }
  bool start_array(std::size_t /*elements*/) { return open_level(false); }
  bool end_array() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    path_.resize(level.path);
    if (!level.list.nested) add_entry(std::move(level.list).value(), level.offset);
    return close_element();
  }
  bool key(std::string& name) {
    Level& level = levels_.back();
    path_.resize(level.path);
    if (!path_.empty()) path_ += '.';
    path_ += name;
    offset_ = start_of(name);
    if (!level.keys.insert(name).second) forget_earlier_values();
    return true;
  }

 private:
  bool other_value(const char* /*what*/) override {
    return false;
  }  // All kinds of values are handled.

  template <class Value>
  bool add_value(Value value) {
    if (levels_.empty()) throw_no_object();
    if (levels_.back().object) {
      add_entry(std::move(value), offset_);
    } else if (++levels_.back().list.count <= Metadata::kLongestArray) {
      levels_.back().list.add_element(std::move(value));
    }
    return true;
  }

  void add_entry(Metadata::Value value, std::uint64_t offset) {
    if (entries_.size() == kMostConfigEntries) {
      throw_beyond_limit(offset, kMostConfigEntries, " entries");
    }
    entries_.push_back({path_, std::move(value), offset});
  }

  bool open_level(bool object) {
    if (levels_.size() == kMostConfigDepth) {
      throw_beyond_limit(here(), kMostConfigDepth, " levels of nested objects and lists");
    }
    if (levels_.empty() && !object) throw_no_object();
    if (!levels_.empty() && !levels_.back().object) {
      List& list = levels_.back().list;
      list.nested = true;
      path_.resize(levels_.back().path);
      path_ += "." + std::to_string(list.count++);
    }
    levels_.push_back({.object = object, .path = path_.size(), .offset = offset_});
    return true;
  }

  bool close_element() {
    if (!levels_.empty()) path_.resize(levels_.back().path);
    return true;
  }

  // A repeated key replaces the earlier value.
  void forget_earlier_values() {
    if (++repeats_ > kMostConfigRepeats) {
      throw_beyond_limit(offset_, kMostConfigRepeats, " repeated keys");
    }
    std::erase_if(entries_, [&](const Metadata::Entry& entry) {
      return entry.key.starts_with(path_) &&
             (entry.key.size() == path_.size() || entry.key[path_.size()] == '.');
    });
  }

  [[noreturn]] void throw_no_object() const {
    file().throw_format_error({.fault = FormatFault::wrong_type}, "it is not a JSON object",
                              kIsItConfig);
  }
  [[noreturn]] void throw_beyond_limit(std::uint64_t offset, std::size_t limit,
                                       const char* what) const {
    file().throw_format_error({.offset = offset, .fault = FormatFault::out_of_range},
                              "it has more than " + std::to_string(limit) + what, kIsItConfig);
  }

  std::string path_;
  std::uint64_t offset_ = 0;  ///< Offset of the entry that is being read.
  std::vector<Level> levels_;
  std::vector<Metadata::Entry> entries_;
  std::size_t repeats_ = 0;
};

/// Turns Infinity and NaN, which Python writes but JSON lacks, into strings of the same length.
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
    file.throw_format_error({.offset = kMostConfigBytes, .fault = FormatFault::out_of_range},
                            "it is longer than 64 MiB, and so than any config.json", kIsItConfig);
  }
  std::string text = file.text(file.size(), "the configuration");
  quote_words(text);
  Flattener flattener(file, text);
  parse_json(flattener);
  return flattener.take();
}

}  // namespace tapedeck::internal
