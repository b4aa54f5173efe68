// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/decode_buffers.hpp"

#include <string>

#include "base/amounts.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

std::span<std::byte> find_decode_buffer(std::byte* base, const TapePlan& plan,
                                        std::string_view name, std::size_t element_bytes) {
  const Region* region = plan.find(name);
  if (region == nullptr) return {};
  const DTypeTraits& type = traits(region->dtype);
  if (type.block_elements != 1 || type.block_bytes != element_bytes) {
    throw InvalidArgument(
        {.argument = region->name, .value = element_bytes, .limit = type.block_bytes},
        "region " + region->name + " of type " + std::string(type.name) +
            " cannot be viewed as elements of " + internal::count_of(element_bytes, "byte"),
        "plan the decode buffers with the element type that is used");
  }
  std::byte* const at = base + region->offset;
  const std::uint64_t beside = reinterpret_cast<std::uintptr_t>(at) % region->alignment;
  if (beside != 0) {
    throw InvalidArgument({.argument = "base", .value = beside, .limit = 0},
                          "region " + region->name + " would not be aligned to " +
                              std::to_string(region->alignment) + " bytes",
                          "take the memory with the alignment of the plan");
  }
  return {at, static_cast<std::size_t>(region->bytes)};
}

}  // namespace tapedeck::internal
