/// @file
/// llama2.c checkpoints, version 0: seven int32, then arrays of f32. Format: llama2_utils of
/// karpathy/llama2.c (run.c, export.py).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/model.hpp"

namespace tapedeck::internal {

inline constexpr std::size_t kLlama2cHeader = 28;

struct Llama2cFigures {
  std::uint64_t dim = 0;
  std::uint64_t ffn = 0;
  std::uint64_t layers = 0;
  std::uint64_t heads = 0;
  std::uint64_t kv_heads = 0;
  std::uint64_t vocabulary = 0;
  std::uint64_t context = 0;
  bool own_classifier = false;  ///< Said by a negative vocabulary.

  [[nodiscard]] std::uint64_t head_size() const noexcept { return dim / heads; }
};

/// One array of a file: [layers][rows][columns], of f32.
struct Llama2cArray {
  std::string_view name;
  PartId id;
  std::uint64_t layers;
  std::uint64_t rows;  ///< 1 for a vector; 0 for an array this model does not have.
  std::uint64_t columns;
  ParameterKind kind;  ///< `other`: tables of angles, which are computed today.

  /// Nothing where the product does not fit.
  [[nodiscard]] std::optional<std::uint64_t> bytes() const noexcept;
};

/// All arrays in the order of the file. @pre heads is not 0
[[nodiscard]] std::array<Llama2cArray, 14> llama2c_arrays(const Llama2cFigures& figures) noexcept;

/// Whether the first bytes of a file can be such a header. It has no magic: this asks whether its
/// figures make a model.
[[nodiscard]] bool looks_like_llama2c(std::span<const std::byte> head) noexcept;

/// @throws SystemError, FormatError
[[nodiscard]] Model read_llama2c(const std::filesystem::path& path);

}  // namespace tapedeck::internal
