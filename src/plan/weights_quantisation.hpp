/// @file
/// `Quantisation`: how a config.json says that its checkpoint's matrices are stored.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/metadata.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// Sources: `quantization_config` of transformers; the DeepSeek-V3 (FP8) and gpt-oss (MXFP4)
/// repositories; the compressed-tensors, GPTQ and AWQ checkpoint formats.
struct Quantisation {
  enum class Kind : std::uint8_t { none, blocks, groups };

  Kind kind = Kind::none;
  DType type = DType::f16;  ///< Of the packed elements.
  DType scale_type = DType::f32;
  std::uint64_t block_rows = 0;  ///< One scale a block of rows × columns; 0: all of them.
  std::uint64_t block_columns = 0;
  bool zero_points = false;   ///< One, of the elements' type, beside each scale.
  bool column_index = false;  ///< GPTQ: which group a column is in, as i32.
  bool experts_only = false;
  std::vector<std::string> skipped{};  ///< Modules left as they were, by their own names.

  /// True where the tensors of a kind are stored so.
  [[nodiscard]] bool covers(const Parameter& parameter) const;
  /// Bytes of the scales, zero points and indices of one tensor.
  /// @throws InvalidArgument if they do not fit in 64 bits.
  [[nodiscard]] std::uint64_t extra_bytes(const Parameter& parameter) const;
};

/// What a quantised checkpoint's other tensors are in; bf16 where its config does not say.
[[nodiscard]] DType unquantised_type(const Metadata& metadata);

/// @param warnings  gets a line for a method that is not known.
[[nodiscard]] Quantisation read_quantisation(const Metadata& metadata,
                                             std::vector<std::string>& warnings);

}  // namespace tapedeck::internal
