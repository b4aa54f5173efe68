/// @file
/// `StoredQuantization`: how a checkpoint stores the matrices that it has quantized.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/part_id.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct Parameter;

/// What the `quantization_config` of a config.json says. Thread-safety: a value.
///
/// Sources: transformers; the DeepSeek-V3 (FP8) and gpt-oss (MXFP4) repositories; the
/// compressed-tensors, GPTQ and AWQ checkpoint formats.
/// @code{.cpp}
/// // compile only
/// const tapedeck::Model model = tapedeck::read_model("gpt-oss-20b");
/// const tapedeck::StoredQuantization& stored = model.shape.quantization;
/// if (stored.quantized()) std::cout << stored.method << ": " << to_string(stored.type) << '\n';
/// @endcode
struct StoredQuantization {
  std::string method{};     ///< As the config calls it; empty where nothing is quantized.
  bool known = false;       ///< The figures below hold. False for a method that no rule here knows.
  DType type = DType::f16;  ///< Of the packed elements.
  DType scale_type = DType::f32;   ///< Of the scales beside them.
  DType other_type = DType::bf16;  ///< Of tensors that are not quantized.
  std::uint64_t block_rows = 0;    ///< One scale for a block of rows × columns; 0: all of them.
  std::uint64_t block_columns = 0;
  bool zero_points = false;   ///< One, of the elements' type, beside each scale.
  bool column_index = false;  ///< GPTQ: which group a column is in, as i32.
  bool experts_only = false;
  std::uint64_t left_out = 0;  ///< Bit p: tensors of `Part` p were left as they were.

  [[nodiscard]] bool quantized() const noexcept { return known; }
  [[nodiscard]] bool leaves_out(Part part) const noexcept {
    return (left_out >> static_cast<unsigned>(part) & 1U) != 0;
  }
  /// True where the tensors of a kind are stored so.
  [[nodiscard]] bool covers(const Parameter& parameter) const noexcept;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
