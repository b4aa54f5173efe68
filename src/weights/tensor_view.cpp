// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/tensor_view.hpp"

#include <string>

#include "base/amounts.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

void TensorView::throw_not_elements(std::size_t size, std::size_t alignment) const {
  const DTypeTraits& of = traits(dtype);
  const std::string tensor = "tensor " + std::string(name) + " of " + std::string(of.name);
  if (size != of.block_bytes) {
    throw InvalidArgument(
        {.argument = "T", .value = size, .limit = of.block_bytes},
        tensor + " cannot be viewed as elements of " + internal::count_of(size, "byte"),
        "use a type of " + internal::count_of(of.block_bytes, "byte"));
  }
  throw InvalidArgument(
      {.argument = "T", .limit = alignment},
      tensor + " is not aligned to " + std::to_string(alignment) + " bytes in its file",
      "open it with Way::read, which realigns it");
}

}  // namespace tapedeck::inline TAPEDECK_ABI
