#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/file_reader.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/layout/stat_fields.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"
#include "telemetry/recording/sample_words.hpp"
#include "telemetry/snapshot/places.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

using nlohmann::json;

constexpr std::size_t kLongestLine = 32U << 20;  // the regions of 100,000 tensors take half

constexpr const char* kNoRecording = "it is no recording of a layout";

constexpr std::size_t kDeepest = 8;

/// Whether braces and brackets outside of strings are nested deeper.
bool is_deeper_than(std::string_view text, std::size_t deepest) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\') ++i;  // and what follows
    if (in_string) continue;
    if ((c == '{' || c == '[') && ++depth > deepest) return true;
    if ((c == '}' || c == ']') && depth != 0) --depth;
  }
  return false;
}

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
    // What is nested without an end would take much more memory than the file.
    if (is_deeper_than(text_, kDeepest)) refuse("a line that is nested too deep");
    object_ = json::parse(text_, nullptr, false);
    if (!object_.is_object()) refuse("a line that is no JSON object");
  }

  [[nodiscard]] bool has(const char* name) const { return object_.contains(name); }
  [[nodiscard]] const json& at(const char* name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) refuse(std::string("a line without \"") + name + '"');
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
    if (text_.size() > kLongestLine) refuse("a line of more than 32 MiB");
    const bool ended = newline != std::string_view::npos;
    file_.skip(ended ? newline + 1 : some.size(), "a line");
    return !ended;
  }

  internal::FileReader file_;
  std::uint64_t begin_ = 0;
  std::string text_;
  json object_;
};

/// Where the figures of a list go: for each that the file has, its place among ours; nothing for
/// one that we do not have.
using Columns = std::vector<std::optional<std::size_t>>;

template <class Figures>
Columns columns(const Lines& line, const char* name, std::span<const StatField<Figures>> fields) {
  Columns columns;
  for (const json& field : line.list(line.at(name), name)) {
    const std::string asked = line.text(field, name);
    const auto found = std::find_if(fields.begin(), fields.end(),
                                    [&](const auto& ours) { return asked == ours.name; });
    columns.push_back(found == fields.end()
                          ? std::nullopt
                          : std::optional(static_cast<std::size_t>(found - fields.begin())));
  }
  return columns;
}

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
      line_.refuse("it is of version " + std::to_string(version) + ", and this Tapedeck reads " +
                   std::to_string(kRecordingVersion));
    }
    recording_.layout = line_.text(line_.at("layout"), "the layout's name");
    layout_columns_ = columns(line_, "layout_fields", layout_fields());
    tape_columns_ = columns(line_, "tape_fields", tape_fields());
    device_columns_ = columns(line_, "device_fields", device_fields());
    read_tapes();
    for (const json& region : line_.list(line_.at("regions"), "the regions")) read_region(region);
    announced_ = line_.number(line_.at("lines"), "the number of lines");
    recording_.taken = line_.number(line_.at("taken"), "the number of samples taken");
  }

  // Only in the order in which they are written.
  void read_tapes() {
    const json& tapes = line_.list(line_.at("tapes"), "the tapes");
    if (tapes.empty() || tapes.size() % 3 != 0 || tapes.size() > 3 * (1 + kMostGpus)) {
      line_.refuse(std::to_string(tapes.size()) +
                   " tapes: there are three of the host, and of each of " +
                   std::to_string(kMostGpus) + " devices at most");
    }
    recording_.gpus = tapes.size() / 3 - 1;
    Stat stat;
    stat.gpus = recording_.gpus;
    std::size_t i = 0;
    internal::for_each_tape(stat, [&](const std::string& place, const char* name, const TapeStat&) {
      if (tapes[i] != json::array({place, name})) {
        line_.refuse("tape " + std::to_string(i) + " is not the " + name + " of " + place);
      }
      ++i;
    });
  }

  void read_region(const json& region) {
    if (!region.is_object()) line_.refuse("a region that is no object");
    const auto member = [&](const char* name) -> const json& {
      const auto found = region.find(name);
      if (found == region.end()) line_.refuse(std::string("a region without \"") + name + '"');
      return *found;
    };
    RecordedRegion& one = recording_.regions.emplace_back();
    one.place = line_.text(member("place"), "a region's place");
    one.tape = line_.text(member("tape"), "a region's tape");
    one.name = line_.text(member("name"), "a region's name");
    one.offset = line_.number(member("offset"), "a region's offset");
    one.bytes = line_.number(member("bytes"), "a region's size");
    one.bytes_per_token = line_.number(member("bytes_per_token"), "a region's growth");
    if (!is_tape(one)) line_.refuse("a region of a tape that there is not");
    if (!checked_add(one.offset, one.bytes)) line_.refuse("a region that ends beyond 64 bits");
  }

  [[nodiscard]] bool is_tape(const RecordedRegion& region) const {
    Stat stat;
    stat.gpus = recording_.gpus;
    bool found = false;
    internal::for_each_tape(stat, [&](const std::string& place, const char* name, const TapeStat&) {
      found = found || (region.place == place && region.tape == name);
    });
    return found;
  }

  void read_line() {
    line_.read();
    if (++lines_ > announced_) line_.refuse("more lines than it says that it has");
    const std::uint64_t at = line_.number(line_.at("t"), "a time");
    if (at < last_) line_.refuse("a time that lies before the last");
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
    const std::size_t places = 1 + recording_.gpus;
    sample_.clear();
    sample_.push_back(at);
    read_figures(line_.at("layout"), layout_columns_, layout_fields().size());
    for (const json& tape : line_.list(line_.at("tapes"), "the tapes", 3 * places)) {
      read_figures(tape, tape_columns_, tape_fields().size());
    }
    for (const json& device : line_.list(line_.at("devices"), "the devices", recording_.gpus)) {
      read_figures(device, device_columns_, device_fields().size());
    }
    for (const json& peak : line_.list(line_.at("peaks"), "the peaks", 3 * places)) {
      sample_.push_back(line_.number(peak, "a peak"));
    }
    recording_.words.insert(recording_.words.end(), sample_.begin(), sample_.end());
  }

  void read_figures(const json& figures, const Columns& columns, std::size_t ours) {
    const json& values = line_.list(figures, "the figures", columns.size());
    const std::size_t begin = sample_.size();
    sample_.resize(begin + ours);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::uint64_t value = line_.number(values[i], "a figure");
      if (columns[i]) sample_[begin + *columns[i]] = value;
    }
  }

  Lines line_;
  Recording recording_;
  Columns layout_columns_;
  Columns tape_columns_;
  Columns device_columns_;
  std::uint64_t announced_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t last_ = 0;
  std::vector<std::uint64_t> sample_;
};

}  // namespace

Recording read_recording(const std::filesystem::path& path) { return RecordingReader(path).read(); }

TAPEDECK_ABI_END
}  // namespace tapedeck
