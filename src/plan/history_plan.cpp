// SPDX-License-Identifier: Apache-2.0
#include "plan/history_plan.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kPage = 4096;

/// The rows of one cache region.
struct Rows {
  Part part;
  const char* name;  ///< For example "k".
  std::uint64_t heads;
  std::uint64_t head_dim;
  DType type;
};

class HistoryPlanner {
 public:
  HistoryPlanner(const ModelShape& shape, const PlanOptions& options, const CacheCells& cells,
                 const CacheRules& rules)
      : shape_(shape),
        options_(options),
        cells_(cells),
        rules_(rules),
        pads_all_(rules.value_width != 0 &&
                  std::ranges::all_of(shape.layers, [](const LayerShape& layer) {
                    return layer.recurrence == Recurrence::none;
                  })) {
    require_cache_type(options.key_type, "PlanOptions::key_type");
    require_cache_type(options.value_type, "PlanOptions::value_type");
  }

  TapePlan plan() {
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) add_caches(layer);
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) add_states(layer);
    return std::move(out_);
  }

 private:
  void require_cache_type(DType type, const char* option) const {
    const auto has = [&](const auto& types) {
      return std::ranges::find(types, type) != types.end();
    };
    if (has(kCacheTypes) && !has(rules_.unsupported)) return;
    throw InvalidArgument({.argument = option},
                          "the profile " + std::string(options_.profile.name) +
                              " does not support caches of type " + std::string(to_string(type)),
                          "use f16, bf16, q8_0 or q4_0");
  }

  [[nodiscard]] bool has_rows(const LayerShape& layer) const {
    return layer.attention != Attention::none ? !layer.shares_cache : pads_all_;
  }

  void add_caches(std::size_t index) {
    const LayerShape& layer = shape_.layers[index];
    if (shape_.encoder || !has_rows(layer)) return;
    const Part keys = layer.attention == Attention::latent ? Part::latent_cache : Part::key_cache;
    add_rows(index, {keys, "k", layer.kv_heads, layer.key_dim, options_.key_type});
    add_rows(index, {Part::value_cache, "v", layer.kv_heads, layer.value_dim, options_.value_type});
    add_rows(index, {Part::indexer_cache, "indexer", 1, layer.indexer_dim, options_.key_type});
  }

  void require_whole_blocks(const std::string& cache, const Rows& rows, std::uint64_t width) const {
    const std::uint64_t divided = rules_.blocks_in_heads ? rows.head_dim : width;
    const std::uint32_t block = traits(rows.type).block_elements;
    if (divided % block == 0) return;
    throw InvalidArgument({.argument = cache, .value = divided},
                          cache + " has " + (rules_.blocks_in_heads ? "heads" : "rows") + " of " +
                              count_of(divided, "element") + ", which is not a multiple of the " +
                              std::to_string(block) + " elements in a block of " +
                              std::string(to_string(rows.type)),
                          "use an f16 or bf16 cache");
  }

  void add_rows(std::size_t index, const Rows& rows) {
    const LayerShape& layer = shape_.layers[index];
    std::uint64_t width = fits(CheckedSize(rows.heads) * rows.head_dim);
    if (rows.part == Part::value_cache) width = std::max(width, rules_.value_width);
    if (width == 0) return;

    Region region = cache_region(index, rows.part, rows.name);
    require_whole_blocks(region.name, rows, width);
    const std::uint64_t count = cells_.rows_of(layer);
    const std::uint64_t bytes = row_bytes(rows.type, width);
    region.role = is_windowed(layer) && !cells_.windowless ? RegionRole::window : RegionRole::kv;
    region.bytes = fits(CheckedSize(bytes) * count);
    region.dtype = rows.type;
    region.shape = {count, width};
    // If tokens share rows, the bytes of one token are not an integer, so the region does not grow.
    if (layer.compress_ratio <= 1) region.growth = {bytes, count};
    out_.append(std::move(region));
  }

  void add_states(std::size_t index) {
    const LayerShape& layer = shape_.layers[index];
    if (layer.recurrence == Recurrence::none) return;
    add_state(cache_region(index, Part::convolution_state, "conv"), layer.conv_state);
    add_state(cache_region(index, Part::recurrent_state, "state"), layer.state);
  }

  void add_state(Region region, std::uint64_t elements) {
    if (elements == 0) return;
    region.role = RegionRole::recurrent;
    region.bytes = fits(CheckedSize(elements) * cells_.states * sizeof(float));
    region.shape = {cells_.states, elements};
    out_.append(std::move(region));
  }

  static Region cache_region(std::size_t layer, Part part, const char* called) {
    return {.id = {.layer = static_cast<std::uint32_t>(layer), .part = part},
            .name = "layers." + std::to_string(layer) + "." + called,
            .alignment = kPage};
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  const CacheCells& cells_;
  const CacheRules& rules_;
  bool pads_all_ = false;  ///< V is padded in layers without KV heads, too: none is recurrent.
  TapePlan out_{TapeKind::history};
};

}  // namespace

TapePlan plan_history(const ModelShape& shape, const PlanOptions& options, const CacheCells& cells,
                      const CacheRules& rules) {
  return HistoryPlanner(shape, options, cells, rules).plan();
}

}  // namespace tapedeck::internal
