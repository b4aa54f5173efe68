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

constexpr std::size_t kLongestLine = 32U << 20;  // the regions of 100,000 tensors take half

constexpr const char* kNoRecording = "it is no recording of a layout";

constexpr std::size_t kDeepest = 8;

/// The next line of a file as an object, and what can be wrong with it.
class Lines {
 public:
  explicit Lines(const std::filesystem::path& path) : file_(path) {}

  [[nodiscard]] bool has_more() const noexcept { return file_.left() != 0; }
  /// As far as its first byte tells; an empty file may be anything.
  [[nodiscard]] bool may_be_object() {
    const std::span<const std::byte> bytes = file_.peek();
    return bytes.empty() || bytes[0] == std::byte{'{'};
  }

  /// @throws SystemError; FormatError where there is no whole line, or another thing in it.
  void read() {
    begin_ = file_.offset();
    text_.clear();
    while (take_until_newline()) continue;
    if (internal::is_nested_deeper(text_, kDeepest)) refuse("a line is nested too deep");
    object_ = json::parse(text_, nullptr, false);
    if (!object_.is_object()) refuse("a line is no JSON object");
  }

  [[nodiscard]] bool has(const char* name) const { return object_.contains(name); }
  [[nodiscard]] const json& at(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) refuse(std::string("a line lacks \"") + name + '"');
    return *found;
  }

  [[nodiscard]] std::uint64_t number(const json& value, const char* what) const {
    if (!value.is_number_unsigned()) refuse(std::string(what) + " is no whole number");
    return value.get<std::uint64_t>();
  }
  [[nodiscard]] std::string text(const json& value, const char* what) const {
    if (!value.is_string()) refuse(std::string(what) + " is no text");
    return value.get<std::string>();
  }
  [[nodiscard]] const json& list(const json& value, const char* what) const {
    if (!value.is_array()) refuse(std::string(what) + " is no list");
    return value;
  }
  /// Of so many.
  [[nodiscard]] const json& list(const json& value, const char* what, std::size_t size) const {
    if (list(value, what).size() != size) {
      refuse(std::string(what) + " has " + std::to_string(value.size()) +
             " entries, and should have " + std::to_string(size));
    }
    return value;
  }

  /// At the line's beginning.
  [[noreturn]] void refuse(const std::string& message) const {
    file_.refuse(begin_, message, "record it again");
  }
  [[noreturn]] void refuse_end(const std::string& message) const {
    file_.refuse(file_.size(), message, "record it again");
  }

 private:
  /// False once the newline was read, which is not taken.
  bool take_until_newline() {
    const std::span<const std::byte> bytes = file_.peek();
    if (bytes.empty()) refuse_end("it is cut off: the last line has no end");
    const std::string_view some(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::size_t newline = some.find('\n');
    text_ += some.substr(0, newline);
    if (text_.size() > kLongestLine) refuse("a line has more than 32 MiB");
    const bool ended = newline != std::string_view::npos;
    file_.skip(ended ? newline + 1 : some.size(), "a line");
    return !ended;
  }

  internal::FileReader file_;
  std::uint64_t begin_ = 0;
  std::string text_;
  json object_;
};

/// Reads a recording line by line.
class RecordingReader {
 public:
  explicit RecordingReader(const std::filesystem::path& path) : line_(path) {}

  Recording read() {
    read_first();
    while (line_.has_more()) read_line();
    if (lines_ != announced_) {
      line_.refuse_end("it is cut off: " + std::to_string(lines_) + " lines after the first, of " +
                       std::to_string(announced_));
    }
    return std::move(recording_);
  }

 private:
  void read_first() {
    if (!line_.may_be_object()) line_.refuse(kNoRecording);
    line_.read();
    const json schema = line_.has("schema") ? line_.at("schema") : json();
    if (schema != kRecordingSchema) line_.refuse(kNoRecording);
    const std::uint64_t version = line_.number(line_.at("version"), "the version");
    if (version != kRecordingVersion) {
      line_.refuse("it is of version " + std::to_string(version) +
                   ", and this Tapedeck reads version " + std::to_string(kRecordingVersion));
    }
    recording_.layout = line_.text(line_.at("layout"), "the layout's name");
    const std::uint64_t gpus = line_.number(line_.at("gpus"), "the number of devices");
    if (gpus > kMostGpus) {
      line_.refuse("it has " + std::to_string(gpus) + " devices, and a layout has " +
                   std::to_string(kMostGpus) + " at most");
    }
    recording_.gpus = gpus;
    read_names();
    for (const json& region : line_.list(line_.at("regions"), "the regions")) read_region(region);
    announced_ = line_.number(line_.at("lines"), "the number of lines");
    recording_.taken = line_.number(line_.at("taken"), "the number of samples taken");
  }

  // For each figure that the file has, its place among ours, or nothing where we do not have it.
  void read_names() {
    std::map<std::string, std::size_t> ours;
    for (const std::string& name : words::names(recording_.gpus)) {
      const std::size_t place = 1 + ours.size();  // behind the time
      ours[name] = place;
    }
    std::size_t known = 0;
    for (const json& name : line_.list(line_.at("figures"), "the names of figures")) {
      const auto found = ours.find(line_.text(name, "the name of a figure"));
      columns_.push_back(found == ours.end() ? std::nullopt : std::optional(found->second));
      if (found != ours.end()) ++known;
    }
    // A few bytes of the file must not become a whole sample.
    if (known < ours.size() / 2) line_.refuse("it lacks more than half of the figures of a layout");
  }

  void read_region(const json& region) {
    if (!region.is_object()) line_.refuse("a region is no object");
    const auto member = [&](const char* name) -> const json& {
      const auto found = region.find(name);
      if (found == region.end()) line_.refuse(std::string("a region lacks \"") + name + '"');
      return *found;
    };
    RecordedRegion& one = recording_.regions.emplace_back();
    one.place = place_called(line_.text(member("place"), "a region's place"));
    one.tape = tape_called(line_.text(member("tape"), "a region's tape"));
    one.name = line_.text(member("name"), "a region's name");
    one.offset = line_.number(member("offset"), "a region's offset");
    one.bytes = line_.number(member("bytes"), "a region's size");
    one.bytes_per_token = line_.number(member("bytes_per_token"), "a region's growth");
    if (!checked_add(one.offset, one.bytes)) line_.refuse("a region ends beyond 64 bits");
  }

  [[nodiscard]] Place place_called(const std::string& name) const {
    for (std::size_t i = 0; i < 1 + recording_.gpus; ++i) {
      if (to_string(internal::place_at(i)) == name) return internal::place_at(i);
    }
    line_.refuse("a region is on a place that there is not");
  }
  [[nodiscard]] TapeKind tape_called(const std::string& name) const {
    for (const TapeKind kind : kTapeKinds) {
      if (to_string(kind) == name) return kind;
    }
    line_.refuse("a region is of a tape that there is not");
  }

  void read_line() {
    line_.read();
    if (++lines_ > announced_) line_.refuse("it has more lines than it announces");
    const std::uint64_t at = line_.number(line_.at("t"), "a time");
    if (at < last_) line_.refuse("a time lies before the last one");
    last_ = at;
    if (line_.has("enter")) {
      recording_.marks.push_back({.at = at, .entered = line_.text(line_.at("enter"), "a phase")});
    } else if (line_.has("leave")) {
      recording_.marks.push_back({.at = at});
    } else {
      read_sample(at);
    }
  }

  void read_sample(std::uint64_t at) {
    const json& figures = line_.list(line_.at("figures"), "the figures", columns_.size());
    const std::size_t begin = recording_.words.size();
    recording_.words.resize(begin + words::count(recording_.gpus));
    recording_.words[begin] = at;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::uint64_t value = line_.number(figures[i], "a figure");
      if (columns_[i]) recording_.words[begin + *columns_[i]] = value;
    }
  }

  Lines line_;
  Recording recording_;
  std::vector<std::optional<std::size_t>> columns_;
  std::uint64_t announced_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t last_ = 0;
};

}  // namespace

Recording read_recording(const std::filesystem::path& path) { return RecordingReader(path).read(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
