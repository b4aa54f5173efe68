// SPDX-License-Identifier: Apache-2.0
/// @file
/// `plan_history`: KV caches and recurrent states of one talk, region by region.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "plan/cache_cells.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// The types that a K or V cache may have; not every profile supports all of them.
inline constexpr std::array kCacheTypes = {
    DType::f32,  DType::f16,  DType::bf16, DType::f8_e4m3, DType::f8_e5m2, DType::i8,
    DType::q8_0, DType::q5_1, DType::q5_0, DType::q4_1,    DType::q4_0,    DType::iq4_nl,
};

/// How an engine's caches differ from the native ones.
struct CacheRules {
  std::uint64_t value_width = 0;  ///< Rows of V are padded to this many elements.
  bool blocks_in_heads = false;  ///< Blocks of a quantized type must divide a head, not just a row.
  std::span<const DType> unsupported{};  ///< Cache types for which the engine has no kernels.
};

/// Returns the caches of each layer that owns them: "layers.N.k", "layers.N.v" and
/// "layers.N.indexer". Each has its own pages, so that it can be committed separately. The states
/// of all recurrent layers follow: "layers.N.conv" and "layers.N.state".
///
/// @throws InvalidArgument if a cache cannot have the requested type, the type's blocks do not
/// divide the rows, or a size does not fit in 64 bits.
[[nodiscard]] TapePlan plan_history(const ModelShape& shape, const PlanOptions& options,
                                    const CacheCells& cells, const CacheRules& rules);

}  // namespace tapedeck::internal
