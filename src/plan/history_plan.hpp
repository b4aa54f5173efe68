/// @file
/// `plan_history`: KV caches and recurrent states of one talk, region by region.
#pragma once

#include "plan/cache_cells.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// Of every layer that owns a cache: "layers.N.k", "layers.N.v" and "layers.N.indexer", each on
/// pages of its own so that it can be committed by itself; after them "layers.N.conv" and
/// "layers.N.state".
///
/// With `Profile::llama_cpp` as that engine's build v0.5.0 does it: V is padded to the widest layer
/// without flash attention (its rows are stored transposed), and quantised types must divide a
/// head.
/// @throws InvalidArgument for a type that no cache can have or that does not divide the rows; and
/// where a figure does not fit in 64 bits.
[[nodiscard]] TapePlan plan_history(const ModelShape& shape, const PlanOptions& options,
                                    const CacheCells& cells);

}  // namespace tapedeck::internal
