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
// Of these, llama.cpp has no kernels for.
constexpr std::array kNotInLlamaCpp = {DType::f8_e4m3, DType::f8_e5m2, DType::i8};

bool contains(const auto& types, DType type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

bool quantised(DType type) { return traits(type).block_elements > 1; }

void check_type(DType type, const char* cache, Profile profile) {
  const bool known = contains(kCacheTypes, type) &&
                     (profile == Profile::native || !contains(kNotInLlamaCpp, type));
  if (known) return;
  throw InvalidArgument(std::string("no ") + cache + " cache of type " +
                            std::string(to_string(type)) +
                            (profile == Profile::llama_cpp ? " in llama.cpp" : ""),
                        "f16, bf16, q8_0 and q4_0 are usual");
}

void check_types(const PlanOptions& options) {
  check_type(options.key_type, "K", options.profile);
  check_type(options.value_type, "V", options.profile);
  if (options.profile == Profile::llama_cpp && quantised(options.value_type) &&
      !options.flash_attention) {
    throw InvalidArgument("a quantised V cache needs flash attention in llama.cpp",
                          "turn flash attention on, or use an f16 V cache");
  }
}

/// Rows of a cache: one a cell.
struct Rows {
  const char* name;  ///< "k"
  std::uint64_t heads;
  std::uint64_t head_dim;
  DType type;
};

class HistoryPlanner {
 public:
  HistoryPlanner(const ModelShape& shape, const PlanOptions& options, const CacheCells& cells)
      : shape_(shape), options_(options), cells_(cells), widest_v_(widest_value_row()) {}

  TapePlan plan() {
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) add_caches(layer);
    for (std::size_t layer = 0; layer < shape_.layers.size(); ++layer) add_states(layer);
    return std::move(out_);
  }

 private:
  static bool owns_cache(const LayerShape& layer) {
    return layer.attention != Attention::none && !layer.shares_cache;
  }

  // Without a recurrent layer in the model, llama.cpp pads the V of layers without KV heads too.
  [[nodiscard]] bool has_rows(const LayerShape& layer) const {
    const auto stateful = [](const LayerShape& any) { return any.recurrence != Recurrence::none; };
    const auto& all = shape_.layers;
    const bool padded = layer.attention == Attention::none && widest_v_ != 0 &&
                        std::none_of(all.begin(), all.end(), stateful);
    return owns_cache(layer) || padded;
  }

  // What V rows are padded to; 0: they are not.
  [[nodiscard]] std::uint64_t widest_value_row() const {
    if (options_.profile != Profile::llama_cpp || options_.flash_attention) return 0;
    std::uint64_t widest = 0;
    for (const LayerShape& layer : shape_.layers) {
      if (layer.attention == Attention::none) continue;
      widest = std::max(widest, fits(CheckedSize(layer.kv_heads) * layer.value_dim));
    }
    return widest;
  }

  [[nodiscard]] static std::string name(std::size_t layer, const char* part) {
    return "layers." + std::to_string(layer) + "." + part;
  }

  void add_caches(std::size_t index) {
    const LayerShape& layer = shape_.layers[index];
    if (shape_.encoder || !has_rows(layer)) return;
    add_rows(index, {"k", layer.kv_heads, layer.key_dim, options_.key_type});
    add_rows(index, {"v", layer.kv_heads, layer.value_dim, options_.value_type});
    add_rows(index, {"indexer", 1, layer.indexer_dim, options_.key_type});
  }

  void check_blocks(std::size_t layer, const Rows& rows, std::uint64_t width) const {
    const bool by_head = options_.profile == Profile::llama_cpp;
    const std::uint64_t divided = by_head ? rows.head_dim : width;
    const std::uint32_t block = traits(rows.type).block_elements;
    if (divided % block == 0) return;
    throw InvalidArgument(name(layer, rows.name) + ": type " + std::string(to_string(rows.type)) +
                              " has blocks of " + std::to_string(block) +
                              " elements, which do not divide its " + (by_head ? "heads" : "rows") +
                              " of " + std::to_string(divided),
                          "use an f16 or bf16 cache");
  }

  void add_rows(std::size_t index, const Rows& rows) {
    const LayerShape& layer = shape_.layers[index];
    std::uint64_t width = fits(CheckedSize(rows.heads) * rows.head_dim);
    if (rows.name[0] == 'v') width = std::max(width, widest_v_);
    if (width == 0) return;
    check_blocks(index, rows, width);

    const std::uint64_t ratio = std::max<std::uint64_t>(layer.compress_ratio, 1);
    const std::uint64_t count = parts(cells_.of(layer), ratio);
    const std::uint64_t row_bytes = bytes_of_row(rows.type, width);
    const bool windowed = !cells_.windowless && (layer.attention == Attention::windowed ||
                                                 layer.attention == Attention::chunked);
    out_.append({.name = name(index, rows.name),
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
    add_state(index, "conv", layer.conv_state);
    add_state(index, "state", layer.state);
  }

  void add_state(std::size_t index, const char* part, std::uint64_t elements) {
    if (elements == 0) return;
    out_.append({.name = name(index, part),
                 .role = RegionRole::recurrent,
                 .bytes = fits(CheckedSize(elements) * cells_.states * sizeof(float)),
                 .alignment = kPage,
                 .dtype = DType::f32,
                 .shape = {cells_.states, elements}});
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  const CacheCells& cells_;
  std::uint64_t widest_v_;
  TapePlan out_;
};

}  // namespace

TapePlan plan_history(const ModelShape& shape, const PlanOptions& options,
                      const CacheCells& cells) {
  check_types(options);
  return HistoryPlanner(shape, options, cells).plan();
}

}  // namespace tapedeck::internal
