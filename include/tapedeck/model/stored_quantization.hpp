// SPDX-License-Identifier: Apache-2.0
/// @file
/// `StoredQuantization`: how a checkpoint stores its quantized matrices.
#pragma once

#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/part_id.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct Parameter;

/// What the `quantization_config` of a config.json describes. Thread-safety: a value.
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
  std::string method{};           ///< Method as the config names it; empty if nothing is quantized.
  bool known = false;             ///< The method is supported, so the other members are valid.
  DType type = DType::f16;        ///< Type of the packed elements.
  DType scale_type = DType::f32;  ///< Type of the scales.
  DType other_type = DType::bf16;   ///< Type of the tensors that are not quantized.
  std::uint64_t block_rows = 0;     ///< Rows that share one scale; 0 means all rows.
  std::uint64_t block_columns = 0;  ///< Columns that share one scale; 0 means all columns.
  bool zero_points = false;         ///< Each scale comes with a zero point of the elements' type.
  bool column_index = false;        ///< GPTQ: an i32 for each column names the group it belongs to.
  bool experts_only = false;        ///< Only the tensors of experts are quantized.
  std::uint64_t left_out = 0;       ///< If bit p is set, tensors of `Part` p are not quantized.

  [[nodiscard]] bool quantized() const noexcept { return known; }
  [[nodiscard]] bool leaves_out(Part part) const noexcept {
    return (left_out >> static_cast<unsigned>(part) & 1U) != 0;
  }
  /// True if the tensors that `parameter` describes are stored quantized.
  [[nodiscard]] bool covers(const Parameter& parameter) const noexcept;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
