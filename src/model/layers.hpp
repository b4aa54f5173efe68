/// @file
/// The rules by which figures become layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// What a layer is made of. `attention` says which tokens it keeps, not how (`latent` is set
/// later).
struct LayerParts {
  Attention attention = Attention::full;
  bool state = false;
  bool feed_forward = true;
};

/// From the file's own list of layers where it has one, else by the architecture's rule.
[[nodiscard]] LayerParts layer_parts(const Figures& figures, const Architecture& architecture,
                                     std::size_t layer);

/// Whether a list of layers has this one.
[[nodiscard]] bool is_listed(std::span<const std::int64_t> layers, std::size_t layer) noexcept;

/// Fills in hidden width, context and `count` layers, with a warning for each assumption. `known`
/// is nullptr for an architecture that the table does not have. `tensors` may be empty; where they
/// are not, they tell which layers have experts.
/// @throws FormatError for figures that cannot be.
void make_layers(const Figures& figures, const Architecture* known, const TensorDirectory& tensors,
                 std::uint64_t count, ModelShape& shape);

}  // namespace tapedeck::internal
