#include "tapedeck/memory/tape_full.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace tapedeck::inline TAPEDECK_ABI {

TapeFull::TapeFull(std::string_view name, std::size_t requested, std::size_t used,
                   std::size_t total) noexcept
    : requested_(requested), used_(used), total_(total) {
  const std::size_t length = std::min(name.size(), sizeof(name_) - 1);
  std::memcpy(name_, name.data(), length);
  name_[length] = '\0';
  std::snprintf(what_, sizeof(what_), "tape %s is full: asked %zu bytes, used %zu of %zu", name_,
                requested, used, total);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
