// SPDX-License-Identifier: Apache-2.0
#include "os/proc_text.hpp"

#include <array>

#include "os/descriptor.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal::os {

std::string read_text(const std::string& path) {
  const Opened file = open(path, OpenFor::reading);
  if (file.error != 0) return {};
  std::string text;
  std::array<std::byte, 16384> part;
  while (true) {
    const Transferred got = read_at(file.descriptor.get(), part, text.size());
    if (got.error != 0) return {};
    text.append(reinterpret_cast<const char*>(part.data()), got.bytes);
    if (got.bytes < part.size()) return text;
  }
}

std::string_view text_behind(std::string_view text, std::string_view key) {
  std::string_view behind;
  any_part(text, '\n', [&](std::string_view line) {
    if (!line.starts_with(key)) return false;
    behind = line.substr(key.size());
    return true;
  });
  return behind;
}

std::optional<std::size_t> value_of(std::string_view text, std::string_view key) {
  return parse<std::size_t>(text_behind(text, key));
}

std::optional<std::size_t> kib_of(std::string_view text, std::string_view key) {
  const auto kib = value_of(text, key);
  return kib ? checked_mul<std::size_t>(*kib, 1024) : std::nullopt;
}

std::optional<std::size_t> read_number(const std::string& path) {
  return parse<std::size_t>(read_text(path));
}

}  // namespace tapedeck::internal::os
