/// @file
/// `WeightsOwner`: what a layout must know of weights that lie in memory already.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

/// Keeps a model's weights in memory and knows where each tensor lies. `Weights` is one.
class WeightsOwner {
 public:
  struct Tensor {
    DType dtype = DType::f32;
    std::span<const std::byte> bytes{};  ///< Inside `range()`.
  };

  virtual ~WeightsOwner() = default;

  /// All of it, with what lies between tensors and between files. It never moves.
  [[nodiscard]] virtual std::span<const std::byte> range() const noexcept = 0;
  /// Nothing where the model has no tensor of that name.
  [[nodiscard]] virtual std::optional<Tensor> tensor(std::string_view name) const noexcept = 0;

 protected:
  WeightsOwner() = default;
  WeightsOwner(const WeightsOwner&) = default;
  WeightsOwner& operator=(const WeightsOwner&) = default;
};

TAPEDECK_ABI_END
}  // namespace tapedeck
