/// @file
/// `CacheCells`: how many tokens the caches of a talk hold, and what a micro-batch sees of them.
#pragma once

#include <cstdint>

#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {

/// True where a layer's attention needs no tokens but the last ones.
[[nodiscard]] constexpr bool is_windowed(const LayerShape& layer) noexcept {
  return layer.attention == Attention::windowed || layer.attention == Attention::chunked;
}

/// Derived from model and options once, used by the planners of history and scratch.
struct CacheCells {
  std::uint64_t streams = 1;        ///< Caches side by side: one, or one a sequence.
  std::uint64_t context = 0;        ///< Tokens that were asked for, per stream.
  std::uint64_t cells = 0;          ///< Of a stream's full-context cache.
  std::uint64_t window_slack = 0;   ///< Tokens that a windowed cache holds besides the window.
  std::uint64_t window_factor = 1;  ///< Windows in one stream.
  std::uint64_t rounding = 1;
  bool full_window_cache = false;
  bool windowless = false;        ///< The engine knows no windows of such a model.
  std::uint64_t states = 1;       ///< Recurrent states in one stream, rollback included.
  std::uint64_t micro_batch = 0;  ///< Tokens computed at a time, in whole rows of sequences.

  /// Of a layer's cache: one a cell, or for all the tokens that share it.
  /// @throws InvalidArgument if a figure does not fit in 64 bits.
  [[nodiscard]] std::uint64_t rows_of(const LayerShape& layer) const;
};

/// @throws InvalidArgument for options that make no sense, alone or for this model.
[[nodiscard]] CacheCells cache_cells(const ModelShape& shape, const PlanOptions& options);

}  // namespace tapedeck::internal
