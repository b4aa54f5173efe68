#include "tapedeck/memory/tape_full.hpp"

#include <cstdio>

namespace tapedeck::inline TAPEDECK_ABI {

TapeFull::TapeFull(std::string_view name, std::size_t requested, std::size_t used,
                   std::size_t total) noexcept
    : requested_(requested), used_(used), total_(total) {
  name_[name.copy(name_, sizeof(name_) - 1)] = '\0';
  std::snprintf(what_, sizeof(what_), "tape %s is full: asked %zu bytes, used %zu of %zu", name_,
                requested, used, total);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
