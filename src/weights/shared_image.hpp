// SPDX-License-Identifier: Apache-2.0
/// @file
/// The format of the memory that processes share: eight bytes with the length of a JSON text, the
/// text, and the tensors that it describes. It is like safetensors, but aligned and for all types.
/// @code{.json}
/// {"tapedeck": 1, "name": "weights",
///  "tensors": [{"name": "a", "dtype": "q8_0", "shape": [2, 32], "offset": 4096}]}
/// @endcode
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/weights/weights_builder.hpp"

namespace tapedeck::internal {

/// The path in errors about memory whose name is not known yet.
inline constexpr const char* kSharedWeights = "shared weights";

/// A planned image.
struct SharedImage {
  std::string header{};                  ///< Belongs at byte 0.
  std::vector<std::uint64_t> offsets{};  ///< One per tensor.
  std::vector<std::uint64_t> sizes{};    ///< One per tensor, in bytes.
  std::uint64_t bytes = 0;               ///< Size of the image.
};

/// Plans an image of these tensors.
/// @throws InvalidArgument for tensors that cannot be stored or counted.
[[nodiscard]] SharedImage plan_shared_image(const std::string& name,
                                            const std::vector<TensorSpec>& tensors);

/// Reads an image that may come from another process. Nothing in it is trusted.
/// @throws FormatError
[[nodiscard]] TensorDirectory read_shared_image(std::span<const std::byte> image);

}  // namespace tapedeck::internal
