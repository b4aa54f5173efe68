#include "cli/output.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>

#include "os/file.hpp"
#include "os/signals.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

constexpr std::size_t kTokensPerLine = 32;
constexpr int kError = 2;

// Goes to the start of the next line, which is made if there is none, and remembers the place.
constexpr std::string_view kGoBelow =
    "\x1b"
    "D\x1b[A\x1b"
    "7\x1b[B\r";
constexpr std::string_view kGoBack =
    "\x1b"
    "8";

bool has_output = true;

// Where a layout has a device, its talk is there.
std::string live_line(const Stat& stat) {
  const bool on_device = stat.gpus != 0;
  return fmt::format("{} | {} tokens", on_device ? stat.gpu[0].line() : stat.line(),
                     on_device ? stat.gpu[0].tokens : stat.tokens);
}

}  // namespace

void reserve_standard_streams() noexcept { has_output = os::reserve_standard_streams(); }

Output::Output() noexcept {
  os::ignore_broken_pipes();
  std::setvbuf(stdout, nullptr, _IONBF, 0);
}

bool Output::write(std::string_view text) {
  if (!has_output) {
    throw InvalidArgument("standard output is closed", "redirect it to /dev/null to drop it");
  }
  if (!open_ || std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return open_;
  open_ = false;
  if (errno == EPIPE || errno == EINTR) return false;
  throw SystemError({.call = "write", .number = errno, .path = "standard output"});
}

void tell(std::string_view text) noexcept { std::fwrite(text.data(), 1, text.size(), stderr); }

void keep_apart(const std::filesystem::path& written, const std::filesystem::path& read) {
  std::error_code not_there;
  if (!std::filesystem::equivalent(written, read, not_there)) return;
  throw InvalidArgument(written.string() + " would replace what is read from it",
                        "write another file");
}

void tell_error(std::string_view message) { tell("tapedeck: " + printable(message) + '\n'); }

LiveStat::LiveStat(bool wanted) noexcept {
  if (!wanted) return;
  const bool below = os::is_terminal(kOutput);
  style_ = !os::is_terminal(kError) ? Style::lines : below ? Style::below_text : Style::in_place;
}

void LiveStat::make_way() const {
  if (shown_ && style_ == Style::below_text) tell(kEraseBelow);
}

void LiveStat::show(const Stat& stat) {
  if (style_ == Style::off) return;
  ++tokens_;
  const std::string line = live_line(stat);
  if (style_ == Style::lines) {
    if (tokens_ % kTokensPerLine == 0) tell(line + '\n');
    return;
  }
  if (style_ == Style::in_place) {
    tell(fmt::format("\r{}{}", line, kEraseLineEnd));
  } else {
    tell(fmt::format("{}{}{}{}", kGoBelow, line, kEraseLineEnd, kGoBack));
  }
  shown_ = true;
}

void LiveStat::finish() {
  make_way();
  if (shown_ && style_ == Style::in_place) tell("\n");
  shown_ = false;
}

}  // namespace tapedeck::cli
