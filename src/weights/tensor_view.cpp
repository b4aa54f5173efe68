#include "tapedeck/weights/tensor_view.hpp"

#include <string>

#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

void TensorView::refuse(std::size_t size, std::size_t alignment) const {
  const DTypeTraits& of = traits(dtype);
  const std::string tensor = "tensor " + std::string(name) + " of " + std::string(of.name);
  if (size != of.block_bytes) {
    throw InvalidArgument(tensor + " as elements of " + std::to_string(size) + " bytes",
                          "its elements, or blocks, have " + std::to_string(of.block_bytes));
  }
  throw InvalidArgument(tensor + " does not lie at a multiple of " + std::to_string(alignment),
                        "its file places it so; open it with Way::read, which realigns it");
}

TAPEDECK_ABI_END
}  // namespace tapedeck
