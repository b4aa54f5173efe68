#include "plan/history_plan.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kPage = 4096;

constexpr std::array kCacheTypes = {
    DType::f32,  DType::f16,  DType::bf16, DType::f8_e4m3, DType::f8_e5m2, DType::i8,
    DType::q8_0, DType::q5_1, DType::q5_0, DType::q4_1,    DType::q4_0,    DType::iq4_nl,
};

void require_cache_type(DType type, const char* cache, const char* option) {
  if (std::find(kCacheTypes.begin(), kCacheTypes.end(), type) != kCacheTypes.end()) return;
  throw InvalidArgument(
      {.argument = option},
      std::string("a ") + cache + " cache cannot be of type " + std::string(to_string(type)),
      "use f16, bf16, q8_0 or q4_0");
}

/// Rows of a cache: one a cell.
struct Rows {
  Part part;
  const char* name;  ///< "k"
  std::uint64_t heads;
  std::uint64_t head_dim;
  DType type;
};

class HistoryPlanner {
 public:
  HistoryPlanner(const ModelShape& shape, const PlanOptions& options, const CacheCells& cells,
                 const CacheRules& rules)
      : shape_(shape), options_(options), cells_(cells), rules_(rules) {}

  TapePlan plan() {
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) add_caches(layer);
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) add_states(layer);
    return std::move(out_);
  }

 private:
  static bool owns_cache(const LayerShape& layer) {
    return layer.attention != Attention::none && !layer.shares_cache;
  }

  // Without a recurrent layer in the model, the V of layers without KV heads is padded too.
  [[nodiscard]] bool has_rows(const LayerShape& layer) const {
    const auto stateful = [](const LayerShape& any) { return any.recurrence != Recurrence::none; };
    const auto& all = shape_.layers;
    const bool padded = layer.attention == Attention::none && rules_.value_width != 0 &&
                        std::none_of(all.begin(), all.end(), stateful);
    return owns_cache(layer) || padded;
  }

  [[nodiscard]] static std::string name(std::size_t layer, const char* part) {
    return "layers." + std::to_string(layer) + "." + part;
  }
  [[nodiscard]] static PartId id(std::size_t layer, Part part) {
    return {.layer = static_cast<std::uint32_t>(layer), .part = part};
  }

  void add_caches(std::size_t index) {
    const LayerShape& layer = shape_.layers[index];
    if (shape_.encoder || !has_rows(layer)) return;
    const Part keys = layer.attention == Attention::latent ? Part::latent_cache : Part::key_cache;
    add_rows(index, {keys, "k", layer.kv_heads, layer.key_dim, options_.key_type});
    add_rows(index, {Part::value_cache, "v", layer.kv_heads, layer.value_dim, options_.value_type});
    add_rows(index, {Part::indexer_cache, "indexer", 1, layer.indexer_dim, options_.key_type});
  }

  void check_blocks(std::size_t layer, const Rows& rows, std::uint64_t width) const {
    const std::uint64_t divided = rules_.blocks_in_heads ? rows.head_dim : width;
    const std::uint32_t block = traits(rows.type).block_elements;
    if (divided % block == 0) return;
    throw InvalidArgument(
        {.argument = name(layer, rows.name), .value = divided},
        name(layer, rows.name) + " has " + (rules_.blocks_in_heads ? "heads" : "rows") + " of " +
            std::to_string(divided) + " elements, which the blocks of " + std::to_string(block) +
            " of type " + std::string(to_string(rows.type)) + " do not divide",
        "use an f16 or bf16 cache");
  }

  void add_rows(std::size_t index, const Rows& rows) {
    const LayerShape& layer = shape_.layers[index];
    std::uint64_t width = fits(CheckedSize(rows.heads) * rows.head_dim);
    if (rows.part == Part::value_cache) width = std::max(width, rules_.value_width);
    if (width == 0) return;
    check_blocks(index, rows, width);

    const std::uint64_t ratio = std::max<std::uint64_t>(layer.compress_ratio, 1);
    const std::uint64_t count = parts(cells_.of(layer), ratio);
    const std::uint64_t row_bytes = bytes_of_row(rows.type, width);
    const bool windowed = !cells_.windowless && (layer.attention == Attention::windowed ||
                                                 layer.attention == Attention::chunked);
    out_.append({.id = id(index, rows.part),
                 .name = name(index, rows.name),
                 .role = windowed ? RegionRole::window : RegionRole::kv,
                 .bytes = fits(CheckedSize(row_bytes) * count),
                 .alignment = kPage,
                 .dtype = rows.type,
                 .shape = {count, width},
                 // Rows that tokens share are no whole number of bytes a token: all at once.
                 .growth = ratio == 1 ? Growth{row_bytes, count} : Growth{}});
  }

  static std::uint64_t bytes_of_row(DType type, std::uint64_t width) {
    const auto bytes = bytes_of(type, width);
    if (!bytes) throw InvalidArgument("a cache row of " + std::to_string(width) + " elements");
    return *bytes;
  }

  void add_states(std::size_t index) {
    const LayerShape& layer = shape_.layers[index];
    if (layer.recurrence == Recurrence::none) return;
    add_state(index, Part::convolution_state, "conv", layer.conv_state);
    add_state(index, Part::recurrent_state, "state", layer.state);
  }

  void add_state(std::size_t index, Part part, const char* called, std::uint64_t elements) {
    if (elements == 0) return;
    out_.append({.id = id(index, part),
                 .name = name(index, called),
                 .role = RegionRole::recurrent,
                 .bytes = fits(CheckedSize(elements) * cells_.states * sizeof(float)),
                 .alignment = kPage,
                 .dtype = DType::f32,
                 .shape = {cells_.states, elements}});
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  const CacheCells& cells_;
  const CacheRules& rules_;
  TapePlan out_{TapeKind::history};
};

}  // namespace

TapePlan plan_history(const ModelShape& shape, const PlanOptions& options, const CacheCells& cells,
                      const CacheRules& rules) {
  require_cache_type(options.key_type, "K", "PlanOptions::key_type");
  require_cache_type(options.value_type, "V", "PlanOptions::value_type");
  return HistoryPlanner(shape, options, cells, rules).plan();
}

}  // namespace tapedeck::internal
