// SPDX-License-Identifier: Apache-2.0
/// @file
/// The program's output: results go to standard output, everything else to standard error. Also the
/// formats that several commands share.
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

// Control sequences of the VT100, which all terminals understand.
inline constexpr std::string_view kEraseBelow = "\x1b[J";
inline constexpr std::string_view kEraseLineEnd = "\x1b[K";
inline constexpr std::string_view kEraseLine = "\r\x1b[K";

// File descriptors.
inline constexpr int kOutput = 1;
inline constexpr int kError = 2;

/// Keeps files that are opened later from getting the descriptors of closed standard streams, and
/// remembers whether standard output is closed. Call it before anything is opened.
void reserve_standard_streams() noexcept;

/// Standard output without a buffer: each text is visible as soon as it is written.
class Output {
 public:
  Output() noexcept;

  /// Returns false once the reader has closed the pipe, the terminal was closed, or a signal
  /// interrupted a write to a full pipe. Later calls then write nothing.
  /// @throws SystemError if the output cannot be stored; InvalidArgument if standard output was
  /// closed when the program started.
  bool write(std::string_view text);

 private:
  bool open_ = true;
  bool terminal_;
};

/// Checks that a file to be written is not one that is read, since it would replace it. Call it
/// before anything is written.
/// @throws InvalidArgument if both are the same file.
void keep_apart(const std::filesystem::path& written, const std::filesystem::path& read);

/// Returns an untrusted text on one line, with control characters escaped.
[[nodiscard]] inline std::string printable(std::string_view text) {
  return internal::printable(text, std::string_view::npos);
}

/// Checks that no regular file would be replaced, unless that was requested with `--force`.
/// `NewFile` refuses what is not a regular file. @throws InvalidArgument
void require_new(const std::filesystem::path& written, bool force);

/// Writes to standard error. Write failures are ignored.
void tell(std::string_view text) noexcept;

/// Writes "tapedeck: " and the message to standard error as one line. Control characters in it,
/// such as those of file names, are escaped.
void tell_error(std::string_view message);

/// Returns "[############........]  63 %", always with the same width. Rounds down, so 100 % means
/// all of it.
[[nodiscard]] std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole);

/// Returns "1.9 GiB", or "unknown".
[[nodiscard]] std::string size_text(std::optional<std::uint64_t> bytes);

/// The member `schema` of the JSON that a command prints. It increases when a field changes its
/// meaning, but not when fields are added.
inline constexpr int kGpusSchema = 1;
inline constexpr int kPlanSchema = 2;  ///< Also of `fit`.
inline constexpr int kResidentSchema = 1;
inline constexpr int kWarmSchema = 1;

/// Returns a JSON array with `as_json` of each value.
template <class Values, class AsJson, class Json = nlohmann::ordered_json>
[[nodiscard]] Json json_list(const Values& values, const AsJson& as_json) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(as_json(value));
  return list;
}

/// Returns a rate, or null for 0, which means that it is not known.
[[nodiscard]] nlohmann::ordered_json rate_json(double rate);

/// Returns an object as indented lines.
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json);

}  // namespace tapedeck::cli
