/// @file
/// Names out of files that are not trusted, as an error may show them.
#pragma once

#include <string>
#include <string_view>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// At most so many bytes of a name; a terminal's control characters become '?'.
[[nodiscard]] inline std::string printable(std::string_view name) {
  constexpr std::size_t kMost = 128;
  std::string text(name.substr(0, kMost));
  for (char& c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) c = '?';
  }
  return name.size() <= kMost ? text : text + "...";
}

}  // namespace tapedeck::internal
