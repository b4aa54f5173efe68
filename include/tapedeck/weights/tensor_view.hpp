// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TensorView`: the bytes of one tensor in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A type that a tensor's bytes can be viewed as: a number, or a struct that is one block of a
/// quantized type.
template <class T>
concept TensorElement = std::is_trivially_copyable_v<T> && !std::is_const_v<T>;

/// A view of one tensor of a `Weights`, valid as long as the weights are. Thread-safety: a value;
/// any thread may read the bytes after they have become readable (`Weights::readable`).
///
/// @code{.cpp}
/// // compile only
/// const tapedeck::Weights weights = tapedeck::Weights::open("llama.gguf");
/// const tapedeck::TensorView norm = weights.at("output_norm.weight");
/// for (const float weight : norm.as<float>()) std::cout << weight << '\n';
/// @endcode
struct TensorView {
  std::string_view name{};
  DType dtype = DType::f32;
  std::span<const std::uint64_t> shape{};  ///< Slowest dimension first.
  std::span<const std::byte> bytes{};
  /// Whether the address has the alignment that the type needs: the size of its number or, for a
  /// block type, of the widest number in a block.
  bool aligned = false;

  /// Returns the elements as `T`, which must have the size of one element, or of one block of a
  /// quantized type.
  /// @throws InvalidArgument if `T` has another size, or if the bytes are not aligned for it. A
  /// file may place its tensors anywhere; reading it (`Way::read`, `Way::direct`) realigns them.
  template <TensorElement T>
  [[nodiscard]] std::span<const T> as() const {
    const std::optional<std::span<const T>> elements = try_as<T>();
    if (!elements) throw_not_elements(sizeof(T), alignof(T));
    return *elements;
  }

  /// Like `as`, but returns nothing instead of throwing.
  template <TensorElement T>
  [[nodiscard]] std::optional<std::span<const T>> try_as() const noexcept {
    if (sizeof(T) != traits(dtype).block_bytes) return std::nullopt;
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) != 0) return std::nullopt;
    return std::span(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
  }

 private:
  [[noreturn]] void throw_not_elements(std::size_t size, std::size_t alignment) const;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
