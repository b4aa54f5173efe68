// SPDX-License-Identifier: Apache-2.0
/// @file
/// A plan that tests of layouts share, with a little of everything that a plan can have.
#pragma once

#include <algorithm>
#include <cstdint>

#include "layout/cache_region.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {

inline constexpr std::uint64_t kSideContext = 1024;
inline constexpr std::uint64_t kSideWindow = 256;
inline constexpr std::uint64_t kSideRow = 512;  ///< The bytes of K of one token.
inline constexpr std::uint64_t kSideState = 100;

/// Two tensors, two buffers that share a place, K and V of a layer, a window, and a state.
[[nodiscard]] inline Plan side_plan(std::uint64_t talks = 1, std::uint64_t context = kSideContext) {
  Plan plan;
  plan.talks = talks;
  plan.context_per_talk = context;
  plan.weights.append({.name = "embedding", .bytes = 1000});
  plan.weights.append({.name = "head", .bytes = 8192, .alignment = 4096});
  plan.scratch.place({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4000});
  plan.scratch.place({.name = "prefill.logits", .role = RegionRole::prefill, .bytes = 9000});
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, context, kSideRow));
  plan.history.append(cache_region("layers.0.v", RegionRole::kv, context, kSideRow));
  plan.history.append(cache_region("layers.1.k", RegionRole::window, kSideWindow, kSideRow));
  plan.history.append({.name = "layers.2.state",
                       .role = RegionRole::recurrent,
                       .bytes = kSideState,
                       .alignment = 4096});
  return plan;
}

/// The bytes of its history that this many tokens fill.
[[nodiscard]] inline std::uint64_t filled_by(std::uint64_t tokens) {
  if (tokens == 0) return 0;
  return (2 * tokens + std::min(tokens, kSideWindow)) * kSideRow + kSideState;
}

}  // namespace tapedeck::tests
