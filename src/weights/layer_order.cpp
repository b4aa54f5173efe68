// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/weights/warm_job.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

/// The stage in which a tensor is needed: 0 before the layers, n + 1 for layer n, then the maximum.
std::uint64_t stage_of(const PartId& id) {
  constexpr std::uint64_t kFirst = 0;
  constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();
  if (id.tower == Tower::draft) return kLast;
  if (const auto layer = id.text_layer()) return std::uint64_t{*layer} + 1;
  const bool last =
      id.tower == Tower::text && (id.part == Part::final_norm || id.part == Part::head);
  return last ? kLast : kFirst;
}

}  // namespace

std::vector<std::uint32_t> layer_order(const TensorDirectory& tensors) {
  const std::span<const TensorEntry> entries = tensors.entries();
  std::vector<std::uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return stage_of(entries[i].id); });
  return order;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
