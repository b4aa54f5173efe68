// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "base/amounts.hpp"
#include "base/json.hpp"
#include "os/descriptor.hpp"
#include "os/terminal.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

constexpr std::size_t kCells = 20;  // lets a line with its other columns fit in 80 columns

bool has_output = true;

}  // namespace

void reserve_standard_streams() noexcept { has_output = os::reserve_standard_streams(); }

Output::Output() noexcept : terminal_(os::is_terminal(kOutput)) {
  os::ignore_broken_pipes();
  std::setvbuf(stdout, nullptr, _IONBF, 0);
}

bool Output::write(std::string_view text) {
  if (!has_output) {
    throw InvalidArgument("standard output is closed",
                          "redirect it to /dev/null to discard the output");
  }
  if (!open_ || std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return open_;
  open_ = false;
  if (errno == EPIPE || errno == EINTR || (errno == EIO && terminal_)) return false;
  throw SystemError({.call = "write", .number = errno, .path = "standard output"});
}

void tell(std::string_view text) noexcept { std::fwrite(text.data(), 1, text.size(), stderr); }

void keep_apart(const std::filesystem::path& written, const std::filesystem::path& read) {
  std::error_code not_there;
  if (!std::filesystem::equivalent(written, read, not_there)) return;
  throw InvalidArgument(written.string() + " would be overwritten while it is read",
                        "write to another file");
}

void require_new(const std::filesystem::path& written, bool force) {
  std::error_code not_there;
  if (force || !std::filesystem::is_regular_file(written, not_there)) return;
  throw InvalidArgument({.argument = "--force"}, written.string() + " exists already",
                        "write to another file, or replace it with --force");
}

void tell_error(std::string_view message) { tell("tapedeck: " + printable(message) + '\n'); }

std::string bar_text(std::optional<std::uint64_t> part, std::uint64_t whole) {
  if (!part) return fmt::format("[{:?<{}}]   ? %", "", kCells);
  const std::size_t full = internal::scaled(*part, whole, kCells);
  return fmt::format("[{:#<{}}{:.<{}}] {:>3} %", "", full, "", kCells - full,
                     internal::scaled(*part, whole, 100));
}

std::string size_text(std::optional<std::uint64_t> bytes) {
  return bytes ? to_iec(*bytes) : "unknown";
}

nlohmann::ordered_json rate_json(double rate) {
  return rate == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(rate);
}

std::string json_text(const nlohmann::ordered_json& json) {
  return internal::json_text(json, 2) + "\n";
}

}  // namespace tapedeck::cli
