/// @file
/// `Matrix`: a matrix of a model's weights, as its file stores it.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck::llama {

/// What the kernels compute with. Other types are for engines with more kernels than this one.
inline constexpr std::array kMatrixTypes = {DType::f32, DType::f16, DType::bf16, DType::q8_0};

/// Row-major, [out][in]. A row is a whole number of the type's blocks. Thread-safety: a value.
struct Matrix {
  DType dtype = DType::f32;  ///< One of `kMatrixTypes`, and aligned for it.
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::span<const std::byte> bytes{};

  /// The elements. @pre the type is f32
  [[nodiscard]] std::span<const float> floats() const noexcept {
    return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
  }
};

}  // namespace tapedeck::llama
