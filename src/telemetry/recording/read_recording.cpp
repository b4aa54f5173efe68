// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace words = internal::words;
namespace {

using nlohmann::json;
using JsonType = json::value_t;

constexpr std::size_t kLongestLine = 32U << 20;  // the regions of 100,000 tensors need half of it

constexpr std::size_t kDeepest = 8;

constexpr const char* kRecordAgain = "record it again";

std::string quoted(const char* name) { return '"' + std::string(name) + '"'; }

/// Reads the lines of a file as JSON objects, and reports what is wrong with them.
class RecordingLine {
 protected:
  using enum FormatFault;

  explicit RecordingLine(const std::filesystem::path& path) : file_(path) {}

  [[nodiscard]] bool has_more() const noexcept { return file_.left() != 0; }
  /// Whether the first byte is that of an object.
  /// @throws FormatError if the file is empty.
  [[nodiscard]] bool may_be_object() {
    file_.require_content(kRecordAgain);
    const std::span<const std::byte> bytes = file_.peek();
    return !bytes.empty() && bytes[0] == std::byte{'{'};
  }

  /// Returns false, and reads no object, if the file ends inside the line.
  /// @throws SystemError; FormatError if the line is not a JSON object.
  [[nodiscard]] bool read_object() {
    begin_ = file_.offset();
    text_.clear();
    while (!take_until_newline()) {
      if (!has_more()) return false;
    }
    require_format(!internal::is_nested_deeper(text_, kDeepest), "", malformed,
                   "a line is nested too deeply");
    object_ = json::parse(text_, nullptr, false);
    require_format(object_.is_object(), "", malformed, "a line is not a JSON object");
    return true;
  }

  [[nodiscard]] const json& object() const noexcept { return object_; }

  /// Checks the type of the value that is called `name`, or is in a list of that name.
  [[nodiscard]] const json& typed(JsonType type, const json& value, const char* name) const {
    if (value.type() == type) return value;
    throw_format_error(name, wrong_type, quoted(name) + " has a value of the wrong type");
  }
  /// Returns a member of the line's object, or of an object in it.
  [[nodiscard]] const json& member(JsonType type, const json& object, const char* name) const {
    const auto found = object.find(name);
    if (found == object.end()) throw_format_error(name, missing, "a line lacks " + quoted(name));
    return typed(type, *found, name);
  }
  [[nodiscard]] std::uint64_t number(const json& object, const char* name) const {
    return member(JsonType::number_unsigned, object, name).get<std::uint64_t>();
  }
  [[nodiscard]] std::string text(const json& object, const char* name) const {
    return member(JsonType::string, object, name).get<std::string>();
  }
  [[nodiscard]] const json& list(const json& object, const char* name) const {
    return member(JsonType::array, object, name);
  }

  /// If `holds` is false, throws a FormatError with the offset at which the line begins.
  void require_format(bool holds, const char* field, FormatFault fault,
                      const std::string& message) const {
    if (!holds) throw_format_error(field, fault, message);
  }
  [[noreturn]] void throw_format_error(const char* field, FormatFault fault,
                                       const std::string& message,
                                       const char* advice = kRecordAgain) const {
    file_.throw_format_error({.offset = begin_, .field = field, .fault = fault}, message, advice);
  }
  [[noreturn]] void throw_cut_off() const {
    file_.throw_format_error({.offset = file_.size(), .fault = cut_off},
                             "the file is truncated inside its first line", kRecordAgain);
  }

 private:
  /// Appends bytes to the line's text. Returns true after the newline, which is not appended.
  bool take_until_newline() {
    const std::span<const std::byte> bytes = file_.peek();
    const std::string_view some(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t newline = some.find('\n');
    text_ += some.substr(0, newline);
    require_format(text_.size() <= kLongestLine, "", out_of_range, "a line has more than 32 MiB");
    const bool ended = newline != std::string_view::npos;
    file_.skip(ended ? newline + 1 : some.size(), "a line");
    return ended;
  }

  internal::FileReader file_;
  std::uint64_t begin_ = 0;
  std::string text_;
  json object_;
};

/// Reads a recording line by line, as far as its lines are whole.
class RecordingReader : RecordingLine {
 public:
  explicit RecordingReader(const std::filesystem::path& path) : RecordingLine(path) {}

  Recording read() {
    read_first();
    while (has_more() && read_object()) read_line();
    recording_.missing_lines = announced_ - lines_;
    return std::move(recording_);
  }

 private:
  void read_first() {
    require_recording(may_be_object());
    if (!read_object()) throw_cut_off();
    const json& first = object();
    require_recording(first.value("schema", json()) == kRecordingSchema);
    const std::uint64_t version = number(first, "version");
    require_format(version == kRecordingVersion, "version", not_this_format,
                   "it has version " + std::to_string(version) +
                       ", but this Tapedeck reads version " + std::to_string(kRecordingVersion));
    recording_.layout = text(first, "layout");
    if (first.contains("run")) read_run(member(JsonType::object, first, "run"));
    const std::uint64_t gpus = number(first, "gpus");
    require_format(gpus <= kMostGpus, "gpus", out_of_range,
                   "it has " + std::to_string(gpus) + " devices, but a layout can have " +
                       std::to_string(kMostGpus) + " at most");
    recording_.gpus = gpus;
    read_names(list(first, "figures"));
    for (const json& region : list(first, "regions")) {
      read_region(typed(JsonType::object, region, "regions"));
    }
    announced_ = number(first, "lines");
    recording_.taken = number(first, "taken");
  }

  // Older recordings do not have it, and each of its members is optional.
  void read_run(const json& run) {
    if (run.contains("began")) {
      const std::uint64_t began = number(run, "began");
      require_format(began <= kLatestBeginning, "began", out_of_range,
                     "the recording began after the year 9999");
      recording_.run.began = began;
    }
    for (const auto& [name, value] :
         {std::pair("host", &recording_.run.host), std::pair("model", &recording_.run.model),
          std::pair("command", &recording_.run.command)}) {
      if (run.contains(name)) *value = text(run, name);
    }
  }

  // Finds, for each field of the file, its index in our samples, or nothing if we do not have it.
  void read_names(const json& names) {
    std::map<std::string, std::size_t> ours;
    for (const std::string& name : words::names(recording_.gpus)) {
      const std::size_t place = 1 + ours.size();  // after the time
      ours[name] = place;
    }
    std::size_t known = 0;
    for (const json& name : names) {
      const auto found = ours.find(typed(JsonType::string, name, "figures").get<std::string>());
      columns_.push_back(found == ours.end() ? std::nullopt : std::optional(found->second));
      if (found != ours.end()) ++known;
    }
    // Otherwise a few bytes of the file could each become a whole sample in memory.
    require_format(known >= ours.size() / 2, "figures", missing,
                   "it lacks more than half of the fields of a layout");
  }

  void read_region(const json& region) {
    RecordedRegion& one = recording_.regions.emplace_back();
    one.place = place_called(text(region, "place"));
    one.tape = tape_called(text(region, "tape"));
    one.name = text(region, "name");
    one.offset = number(region, "offset");
    one.bytes = number(region, "bytes");
    one.bytes_per_token = number(region, "bytes_per_token");
    require_format(checked_add(one.offset, one.bytes).has_value(), "bytes", out_of_range,
                   "the end of a region does not fit in 64 bits");
  }

  [[nodiscard]] Place place_called(const std::string& name) const {
    if (name == to_string(Place::host())) return Place::host();
    for (std::size_t i = 0; i < recording_.gpus; ++i) {
      if (name == to_string(Place::gpu(i))) return Place::gpu(i);
    }
    throw_format_error("place", contradictory, "a region is on an unknown place");
  }
  [[nodiscard]] TapeKind tape_called(const std::string& name) const {
    for (const TapeKind kind : kTapeKinds) {
      if (to_string(kind) == name) return kind;
    }
    throw_format_error("tape", out_of_range, "a region belongs to an unknown tape");
  }

  void read_line() {
    const json& line = object();
    require_format(++lines_ <= announced_, "lines", contradictory,
                   "it has more lines than it announces");
    const std::uint64_t at = number(line, "t");
    require_format(at >= last_, "t", contradictory, "a time is earlier than the previous one");
    last_ = at;
    if (line.contains("enter")) {
      recording_.marks.push_back({.at = at, .entered = text(line, "enter")});
    } else if (line.contains("leave")) {
      recording_.marks.push_back({.at = at});
    } else {
      read_sample(at, list(line, "figures"));
    }
  }

  void read_sample(std::uint64_t at, const json& figures) {
    require_format(figures.size() == columns_.size(), "figures", contradictory,
                   "a sample does not have one value for each field");
    const std::size_t begin = recording_.words.size();
    recording_.words.resize(begin + words::count(recording_.gpus));
    recording_.words[begin] = at;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const json& figure = typed(JsonType::number_unsigned, figures[i], "figures");
      if (columns_[i]) recording_.words[begin + *columns_[i]] = figure.get<std::uint64_t>();
    }
  }

  void require_recording(bool is_one) const {
    if (is_one) return;
    throw_format_error("schema", not_this_format, "it is not a recording of a layout",
                       "give a file that `tapedeck decode --record` or a Recorder wrote");
  }

  Recording recording_;
  std::vector<std::optional<std::size_t>> columns_;
  std::uint64_t announced_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t last_ = 0;
};

}  // namespace

Recording read_recording(const std::filesystem::path& path) { return RecordingReader(path).read(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
