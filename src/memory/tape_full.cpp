// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape_full.hpp"

#include <cstdio>
#include <string>

namespace tapedeck::inline TAPEDECK_ABI {

TapeFull::TapeFull(std::string_view name, std::size_t requested, std::size_t used,
                   std::size_t total) noexcept
    : requested_(requested), used_(used), total_(total) {
  name_[name.copy(name_, sizeof(name_) - 1)] = '\0';
  if (total == 0) {
    std::snprintf(
        what_, sizeof(what_),
        "a tape without memory was asked for %zu bytes: it was moved from, or its plan is "
        "empty",
        requested);
    return;
  }
  std::snprintf(what_, sizeof(what_), "tape %s is full: requested %zu bytes, used %zu of %zu",
                name_, requested, used, total);
}

void TapeFull::raise(std::string_view name, std::size_t requested, std::size_t used,
                     std::size_t total) {
  throw TapeFull(name, requested, used, total);
}

std::vector<ErrorFact> TapeFull::facts() const {
  return {{"name", name_},
          {"requested", std::to_string(requested_)},
          {"used", std::to_string(used_)},
          {"total", std::to_string(total_)}};
}

}  // namespace tapedeck::inline TAPEDECK_ABI
