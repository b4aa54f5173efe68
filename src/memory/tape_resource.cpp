// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape_resource.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

bool TapeResource::do_is_equal(const memory_resource& other) const noexcept {
  const auto* resource = dynamic_cast<const TapeResource*>(&other);
  return resource != nullptr && resource->tape_ == tape_;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
