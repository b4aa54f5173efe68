// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/certainty.hpp"

#include <array>
#include <cstddef>

namespace tapedeck::inline TAPEDECK_ABI {

const char* to_string(Certainty certainty) noexcept {
  constexpr std::array names = {"exact", "bounded", "estimated", "unknown"};
  return names[static_cast<std::size_t>(certainty)];
}

}  // namespace tapedeck::inline TAPEDECK_ABI
