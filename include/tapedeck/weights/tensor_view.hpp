/// @file
/// `TensorView`: the bytes of one tensor, where they lie in memory.
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

/// What a tensor's numbers may be looked at as: a number, or a struct that is one block of a
/// quantised type.
template <class T>
concept TensorElement = std::is_trivially_copyable_v<T> && !std::is_const_v<T>;

/// One tensor of a `Weights`. Thread-safety: a value; the bytes are read from any thread once they
/// are readable (`Weights::readable`). Lives as long as the weights.
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
  /// The address is a multiple of what the type wants: of its number's size, or, for a block type,
  /// of the widest number in a block.
  bool aligned = false;

  /// The elements as `T`, which has the size of one element, or of one block of a quantised type.
  /// @throws InvalidArgument where `T` has another size, or the bytes are not aligned for it: a
  /// file may place its tensors anywhere. Reading (`Way::read`, `Way::direct`) realigns them.
  template <TensorElement T>
  [[nodiscard]] std::span<const T> as() const {
    const std::optional<std::span<const T>> elements = try_as<T>();
    if (!elements) throw_not_elements(sizeof(T), alignof(T));
    return *elements;
  }

  /// As `as`; nothing instead of an error.
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
