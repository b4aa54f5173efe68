/// @file
/// Where the program prints: results to standard output, everything else to standard error; and
/// what several commands print alike.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/printable.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

// What terminals understand since the VT100.
inline constexpr std::string_view kEraseBelow = "\x1b[J";
inline constexpr std::string_view kEraseLineEnd = "\x1b[K";
inline constexpr std::string_view kEraseLine = "\r\x1b[K";

// Descriptors.
inline constexpr int kOutput = 1;
inline constexpr int kError = 2;

inline constexpr int kPipeClosed = 141;  ///< The exit code, as if SIGPIPE had ended it.

/// Before anything is opened: keeps the descriptors of the standard streams from files that are
/// opened later, and notes where there is no standard output to write to.
void reserve_standard_streams() noexcept;

/// Standard output, without a buffer: each piece of text is there when it was written.
class Output {
 public:
  Output() noexcept;

  /// False from when nobody reads any more, or a signal came while nobody read.
  /// @throws SystemError where the output cannot be stored; InvalidArgument where standard output
  /// was closed from the start.
  bool write(std::string_view text);

 private:
  bool open_ = true;
};

/// Before anything is written: a file takes the place of one of its name, whatever that is.
/// @throws InvalidArgument where the file to be written is the one that is read.
void keep_apart(const std::filesystem::path& written, const std::filesystem::path& read);

/// All of a text out of a file, on one line and without what would drive the terminal.
[[nodiscard]] inline std::string printable(std::string_view text) {
  return internal::printable(text, std::string_view::npos);
}

/// To standard error. That it cannot be written has nobody to be told.
void tell(std::string_view text) noexcept;

/// One line, "tapedeck: " and the message, whatever a file name in it contains.
void tell_error(std::string_view message);

/// "[############........]  63 %", always as wide. Rounded down: 100 % is all of it.
[[nodiscard]] std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole);

/// "1.9 GiB", or "unknown".
[[nodiscard]] std::string size_text(std::optional<std::uint64_t> bytes);

/// Of what a command prints with `--json`, its member `schema`. It is raised where a field changes
/// its meaning; fields may be added.
inline constexpr int kGpusSchema = 1;
inline constexpr int kPlanSchema = 1;  ///< Of `fit`, too.
inline constexpr int kResidentSchema = 1;
inline constexpr int kWarmSchema = 1;

/// What each of `values` is as JSON, one after the other.
template <class Values, class AsJson, class Json = nlohmann::ordered_json>
[[nodiscard]] Json json_list(const Values& values, const AsJson& as_json) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(as_json(value));
  return list;
}

/// One object, on lines.
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json);

}  // namespace tapedeck::cli
