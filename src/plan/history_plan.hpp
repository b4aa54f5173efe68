/// @file
/// `plan_history`: KV caches and recurrent states of one talk, region by region.
#pragma once

#include <cstdint>
#include <span>

#include "plan/cache_cells.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// Where an engine's caches differ from the native ones.
struct CacheRules {
  std::uint64_t value_width = 0;  ///< Rows of V are padded to so many elements.
  bool blocks_in_heads = false;   ///< Blocks of a quantized type divide a head, not just a row.
  std::span<const DType> unsupported{};  ///< Types of caches that the engine has no kernels for.
};

/// Of every layer that owns a cache: "layers.N.k", "layers.N.v" and "layers.N.indexer", each on
/// pages of its own so that it can be committed by itself; after them "layers.N.conv" and
/// "layers.N.state".
///
/// @throws InvalidArgument for a type that no cache can have or that does not divide the rows; and
/// where a figure does not fit in 64 bits.
[[nodiscard]] TapePlan plan_history(const ModelShape& shape, const PlanOptions& options,
                                    const CacheCells& cells, const CacheRules& rules);

}  // namespace tapedeck::internal
