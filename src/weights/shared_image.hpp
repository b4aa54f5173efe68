/// @file
/// What lies in the memory that processes share: eight bytes with the length of a JSON text, the
/// text, and the tensors it describes, as in a safetensors file, but for all types and aligned.
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

/// The path in errors about memory that is not known by its name yet.
inline constexpr const char* kSharedWeights = "shared weights";

/// Where everything will lie.
struct SharedImage {
  std::string header{};                  ///< To be written at byte 0.
  std::vector<std::uint64_t> offsets{};  ///< Of the tensors.
  std::vector<std::uint64_t> sizes{};
  std::uint64_t bytes = 0;
};

/// @throws InvalidArgument for tensors that cannot be stored, or counted.
[[nodiscard]] SharedImage plan_shared_image(const std::string& name,
                                            const std::vector<TensorSpec>& tensors);

/// Reads an image that somebody else made. Nothing in it is trusted.
/// @throws FormatError
[[nodiscard]] TensorDirectory read_shared_image(std::span<const std::byte> image);

}  // namespace tapedeck::internal
