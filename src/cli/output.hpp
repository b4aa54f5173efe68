/// @file
/// Where the program prints: results to standard output, everything else to standard error.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/printable.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"

namespace tapedeck::cli {

// What terminals understand since the VT100.
inline constexpr std::string_view kEraseBelow = "\x1b[J";
inline constexpr std::string_view kEraseLineEnd = "\x1b[K";
inline constexpr std::string_view kEraseLine = "\r\x1b[K";

inline constexpr int kOutput = 1;        ///< The descriptor of standard output.
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

/// The statistics line that follows a talk on standard error: rewritten in place on a terminal,
/// below the text where that goes to the terminal too; elsewhere a line every 32 tokens.
class LiveStat {
 public:
  explicit LiveStat(bool wanted) noexcept;

  /// Before text is printed.
  void make_way() const;
  /// After each token.
  void show(const Stat& stat);
  /// After the last.
  void finish();

 private:
  enum class Style : unsigned char { off, lines, in_place, below_text };

  Style style_ = Style::off;
  bool shown_ = false;
  std::size_t tokens_ = 0;
};

}  // namespace tapedeck::cli
