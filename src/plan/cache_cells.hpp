// SPDX-License-Identifier: Apache-2.0
/// @file
/// `CacheCells`: how many tokens a talk's caches hold, and how many of them a micro-batch reads.
#pragma once

#include <cstdint>

#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// Returns true if a layer's attention reads only the last tokens.
[[nodiscard]] constexpr bool is_windowed(const LayerShape& layer) noexcept {
  return layer.attention == Attention::windowed || layer.attention == Attention::chunked;
}

/// Sizes derived once from model and options, for the history and scratch planners.
struct CacheCells {
  std::uint64_t streams = 1;        ///< Separate caches: 1, or 1 for each sequence.
  std::uint64_t context = 0;        ///< Requested tokens for each stream.
  std::uint64_t cells = 0;          ///< Cells of a stream's full-context cache.
  std::uint64_t window_slack = 0;   ///< Tokens that a windowed cache holds beyond its window.
  std::uint64_t window_factor = 1;  ///< Windows in one stream.
  std::uint64_t rounding = 1;
  bool full_window_cache = false;
  bool windowless = false;        ///< The engine does not use this model's windows.
  std::uint64_t states = 1;       ///< Recurrent states in one stream, rollback included.
  std::uint64_t micro_batch = 0;  ///< Tokens computed together, a multiple of the sequences.

  /// Returns the rows of a layer's cache: one for each cell, or one for all tokens that share a
  /// row.
  /// @throws InvalidArgument if the number does not fit in 64 bits.
  [[nodiscard]] std::uint64_t rows_of(const LayerShape& layer) const;
};

/// @throws InvalidArgument if an option is invalid in itself or for this model.
[[nodiscard]] CacheCells cache_cells(const ModelShape& shape, const PlanOptions& options);

}  // namespace tapedeck::internal
