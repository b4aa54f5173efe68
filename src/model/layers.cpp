// SPDX-License-Identifier: Apache-2.0
#include "model/layers.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/amounts.hpp"
#include "base/checked_sizes.hpp"
#include "base/printable.hpp"
#include "model/unused_fields.hpp"

namespace tapedeck::internal {
namespace {

double clamped_figure(double low, std::optional<double> value, double otherwise, double high) {
  const double figure = value.value_or(otherwise);
  return figure >= low ? std::min(figure, high) : low;  // NaN becomes low
}

std::string block_scope(std::size_t layer) {
  return "block_configs." + std::to_string(layer) + ".";
}

void require_in_attention(const Figures& figures, Figure figure, std::uint64_t value) {
  if (value != 0) return;
  figures.throw_figure_error(figure, FormatFault::out_of_range, "is 0 in a layer with attention");
}

std::uint64_t cached_heads(const Figures& figures, bool windowed, std::uint64_t heads,
                           std::size_t layer) {
  figures.consider(Figure::kv_heads);
  const auto special = figures.find(windowed ? Figure::kv_heads_windowed : Figure::kv_heads_full);
  // Gemma 4's full-attention layers have their own number of heads if V is K.
  if (special && (windowed || figures.flag("attention_k_eq_v").value_or(true))) return *special;
  if (const auto group = figures.real(block_scope(layer) + "attention.n_heads_in_group")) {
    if (*group >= 1 && *group <= static_cast<double>(heads)) {
      return heads / static_cast<std::uint64_t>(*group);
    }
    figures.throw_figure_error(*figures.entry(block_scope(layer) + "attention.n_heads_in_group"),
                               FormatFault::contradictory,
                               "is not between 1 and the number of heads");
  }
  // multi_query means 1 head in Falcon and StarCoder; Falcon's new architecture uses the number.
  const bool numbered =
      figures.says("new_decoder_architecture") || figures.entry("multi_query_group_num") != nullptr;
  if (!numbered && figures.says("multi_query")) return 1;
  return figures.get(Figure::kv_heads, heads, layer);
}

std::uint64_t window_of(const Figures& figures, Attention kind, std::size_t layer) {
  const std::uint64_t fixed = figures.architecture().engine_window;
  if (figures.of_gguf() && fixed != 0) return fixed;
  return figures.get(kind == Attention::chunked ? Figure::chunk : Figure::window, 0, layer);
}

// If a header states no head size, llama.cpp uses the number of heads of the first layer for all.
std::uint64_t splitting_heads(const Figures& figures, const LayerShape& shape) {
  const std::uint64_t first = figures.of_gguf() ? figures.get(Figure::heads, 0) : shape.heads;
  return first == 0 ? shape.heads : first;
}

void set_attention(const Figures& figures, std::size_t layer, Attention kind, LayerShape& shape) {
  const bool windowed = kind == Attention::windowed || kind == Attention::chunked;
  shape.attention = kind;
  shape.heads = figures.get(Figure::heads, 0, layer);
  if (windowed) shape.heads = figures.get(Figure::heads_windowed, shape.heads, layer);
  require_in_attention(figures, Figure::heads, shape.heads);
  shape.kv_heads = cached_heads(figures, windowed, shape.heads, layer);
  require_in_attention(figures, Figure::kv_heads, shape.kv_heads);
  const bool config = !figures.of_gguf();
  if (windowed) shape.window = window_of(figures, kind, layer);
  const std::uint64_t split = figures.get(Figure::hidden, 0) / splitting_heads(figures, shape);
  shape.key_dim = figures.get(Figure::head_dim, split, layer);
  shape.value_dim = figures.get(Figure::value_dim, config ? shape.key_dim : split, layer);
  if (config && figures.architecture().has(kLowRank)) {
    shape.key_dim = figures.get(Figure::nope_dim, 0) + figures.get(Figure::rope_dim, 0);
    figures.consider("qk_head_dim");  // this sum
    shape.value_dim = figures.get(Figure::value_dim, split);
  }
  const auto key = figures.find(windowed ? Figure::head_dim_windowed : Figure::head_dim_full);
  if (key) shape.key_dim = *key;
  if (key && config) shape.value_dim = *key;  // A header states the two separately.
  if (windowed) shape.value_dim = figures.get(Figure::value_dim_windowed, shape.value_dim);
}

// Some layers of GLM-5.2 use the keys that an earlier indexer chose. Source: models/glm-dsa.cpp of
// llama.cpp, which recognizes these models by their context if the header has no list.
bool owns_indexer(const Figures& figures, std::size_t layer) {
  const auto words = figures.texts("indexer_types");
  if (layer < words.size()) return words[layer] != "shared";
  if (!figures.of_gguf() || !figures.architecture().has(kSharedIndexers)) return true;
  const auto list = figures.integers("attention.indexer.types");
  if (layer < list.size()) return list[layer] != 0;
  constexpr std::uint64_t kContextOfShared = 1'048'576;
  if (figures.get(Figure::context, 0) < kContextOfShared) return true;
  return layer < 2 || layer % 4 == 2;
}

// DeepSeek caches one row of kv_lora_rank + rope elements, which contains V.
void set_latent(const Figures& figures, std::size_t layer, LayerShape& shape) {
  const Architecture& architecture = figures.architecture();
  if (architecture.has(kLowRank)) figures.consider(Figure::kv_lora);  // MiniCPM3 caches whole K, V.
  if (!architecture.has(kLatent)) return;
  const auto rank = figures.find(Figure::kv_lora);
  if (!rank) return;
  // Older GGUF files store the projections separately, and engines cache whole K and V for them.
  const bool gguf = figures.of_gguf();
  if (gguf && !figures.find(Figure::latent_key_dim)) return;
  shape.attention = Attention::latent;
  if (!gguf) shape.kv_heads = 1;  // A header states it. The config states that of unabsorbed heads.
  shape.key_dim = *rank + figures.get(Figure::rope_dim, 0);
  if (gguf) shape.key_dim = figures.get(Figure::head_dim, shape.key_dim);
  shape.value_dim = 0;
  figures.consider("attention.indexer.head_count");  // All heads share one key.
  if (owns_indexer(figures, layer)) shape.indexer_dim = figures.get(Figure::indexer_dim, 0);
}

// DeepSeek V4: K is also V, several tokens share a row, and the latest tokens have a cache apart.
void set_compressed(const Figures& figures, std::size_t layer, LayerShape& shape) {
  if (!figures.is_list(Figure::compress_ratio)) return;
  shape.value_dim = 0;
  shape.window = figures.get(Figure::window, 0);
  shape.compress_ratio = figures.get(Figure::compress_ratio, 0, layer);
  shape.attention = shape.compress_ratio == 0 ? Attention::windowed : Attention::latent;
  constexpr std::uint64_t kIndexed = 4;  // the ratio at which an indexer chooses rows
  if (shape.compress_ratio == kIndexed) shape.indexer_dim = figures.get(Figure::indexer_dim, 0);
}

// Heads without a width would cache nothing, so their figures are wrong. Only a row of K that also
// contains V has no width of V.
void require_widths(const Figures& figures, const LayerShape& shape) {
  require_in_attention(figures, Figure::head_dim, shape.key_dim);
  const bool joined =
      shape.attention == Attention::latent || figures.is_list(Figure::compress_ratio);
  if (!joined) require_in_attention(figures, Figure::value_dim, shape.value_dim);
}

std::uint64_t state_width(const Figures& figures, std::uint64_t hidden) {
  // Several figures may state the width. The first one that does is used.
  for (const Figure figure : {Figure::state_heads, Figure::state_head_dim, Figure::expand}) {
    figures.consider(figure);
  }
  if (const auto inner = figures.find(Figure::inner)) return *inner;
  const auto heads = figures.find(Figure::state_heads);
  const auto size = figures.find(Figure::state_head_dim);
  if (heads && size) return *heads * *size;
  return hidden * figures.get(Figure::expand, 2);
}

// Sources: n_embd_r and n_embd_s in llama-hparams.cpp of llama.cpp.
void set_scan_state(const Figures& figures, Recurrence kind, LayerShape& shape) {
  std::uint64_t inner = state_width(figures, figures.get(Figure::hidden, 0));
  std::uint64_t state = figures.get(Figure::state, 0);
  std::uint64_t groups = figures.get(Figure::groups, 1);
  if (kind == Recurrence::mamba1) groups = 0;
  const auto delta_head = figures.find(Figure::state_head_dim);
  const bool gguf = figures.of_gguf();
  if (gguf && kind == Recurrence::gated_delta && delta_head) {  // Kimi: as wide as the attention
    groups = figures.get(Figure::heads, 0);
    inner = groups * *delta_head;
    state = *delta_head;
  }
  if (const auto value_factor = figures.real("expand_v")) {  // fla's gated delta net.
    const std::uint64_t heads = figures.get(Figure::heads, 0);
    state = figures.get(Figure::head_dim, 0);
    groups = heads;
    // Where this saturates, the state below is too large.
    inner = saturated_product(heads,
                              static_cast<std::uint64_t>(static_cast<double>(state) *
                                                         clamped_figure(0, value_factor, 2, 64)));
  }
  if (inner == 0 || state == 0) {
    figures.throw_figure_error(inner == 0 ? Figure::inner : Figure::state,
                               FormatFault::out_of_range, "results in a state of width 0");
  }
  const std::uint64_t kernel = figures.get(Figure::conv_kernel, 4);
  const CheckedSize width = CheckedSize(2) * groups * state + inner;
  const auto convolution = (width * (kernel == 0 ? 0 : kernel - 1)).value();
  const auto elements = (CheckedSize(inner) * state).value();
  if (!convolution || !elements) {
    figures.throw_figure_error(Figure::state, FormatFault::out_of_range,
                               "results in a state larger than any memory");
  }
  shape.inner = inner;
  shape.conv_state = *convolution;
  shape.state = *elements;
}

void set_state(const Figures& figures, Recurrence kind, LayerShape& shape) {
  const std::uint64_t hidden = figures.get(Figure::hidden, 0);
  shape.recurrence = kind;
  switch (kind) {
    case Recurrence::none:
      return;
    case Recurrence::rwkv:
      shape.inner = hidden;
      shape.conv_state = figures.get(Figure::token_shift, 2) * hidden;
      shape.state = hidden * figures.positive(Figure::wkv_head);
      return;
    case Recurrence::short_convolution:
      shape.inner = hidden;
      shape.conv_state = hidden * (figures.positive(Figure::conv_cache) - 1);
      return;
    case Recurrence::mamba1:
    case Recurrence::mamba2:
    case Recurrence::gated_delta:
      return set_scan_state(figures, kind, shape);
  }
}

std::uint64_t next_multiple(std::uint64_t n, std::uint64_t of) { return (n + of - 1) / of * of; }

// The feed-forward width if the config states none.
std::uint64_t implied_width(const Figures& figures, std::uint64_t hidden) {
  const auto wide = static_cast<double>(hidden);
  if (const auto ratio = figures.real("hidden_ratio")) {  // fla: two thirds, because of the gate
    return next_multiple(
        static_cast<std::uint64_t>(wide * clamped_figure(0, ratio, 4, 1024) * 2 / 3), 256);
  }
  if (figures.architecture().state.in == States::all) return 0;
  return static_cast<std::uint64_t>(wide *
                                    clamped_figure(0, figures.real("expansion_ratio"), 4, 1024));
}

// The number of layers with a cache. Later layers read the caches of these.
std::uint64_t cache_owners(const Figures& figures, std::uint64_t count) {
  figures.consider(Figure::shared_cache_layers);
  // llama.cpp has a fixed number for Gemma 3n, and ignores that of a header.
  const auto counted = figures.find(Figure::cache_layers);
  if (counted && figures.of_gguf()) return *counted;
  const auto shared = figures.find(Figure::shared_cache_layers);
  if (!shared) return count;
  const bool stated = figures.stated(Figure::shared_cache_layers) != nullptr;
  if (!stated && *shared >= count) return count;  // transformers' default, meant for larger models
  if (*shared <= count) return count - *shared;
  figures.throw_figure_error(Figure::shared_cache_layers, FormatFault::contradictory,
                             "is greater than the number of layers");
}

// Some models round or scale the width that their config states.
std::uint64_t dense_width(const Figures& figures, std::size_t layer) {
  const std::uint64_t hidden = figures.get(Figure::hidden, 0);
  if (const auto factor = figures.real(block_scope(layer) + "ffn.ffn_mult")) {  // Nemotron-NAS
    const double width = 2 * clamped_figure(0, factor, 0, 1024) * static_cast<double>(hidden) / 3;
    return next_multiple(static_cast<std::uint64_t>(width), 256);
  }
  const auto stated = figures.find(Figure::ffn, layer);
  if (!stated && figures.of_gguf()) return 0;
  const std::uint64_t width = stated ? *stated : implied_width(figures, hidden);
  if (figures.architecture().has(kHalvedFfn)) return width / 2;
  const bool wide = figures.says("use_double_wide_mlp");  // Gemma 4
  if (wide && layer >= cache_owners(figures, figures.get(Figure::layers, 0))) return 2 * width;
  if (!figures.says("block_auto_adjust_ff_dim")) return width;
  // LFM2. Source: Lfm2MLP of transformers.
  const std::uint64_t gated = 2 * width / 3;
  const double scale = clamped_figure(0, figures.real("block_ffn_dim_multiplier"), 1, 1024);
  const auto scaled = static_cast<std::uint64_t>(scale * static_cast<double>(gated));
  const double multiple = clamped_figure(1, figures.real("block_multiple_of"), 256, 65'536);
  return next_multiple(scaled, static_cast<std::uint64_t>(multiple));
}

// Configs have many ways to state which layers have experts.
bool has_experts(const Figures& figures, std::size_t layer) {
  for (const Figure rule : {Figure::dense_layers, Figure::expert_period, Figure::expert_offset}) {
    figures.consider(rule);
  }
  figures.consider("mlp_only_layers");
  constexpr std::string_view kKindsOfFfn = "mlp_layer_types";
  if (const auto words = figures.texts(kKindsOfFfn); layer < words.size()) {
    return words[layer] == "sparse";
  }
  if (const auto pattern = figures.text("hybrid_override_pattern"); pattern) {
    return layer < pattern->size() && (*pattern)[layer] == 'E';
  }
  if (is_listed(figures.integers("mlp_only_layers"), layer)) return false;
  if (layer < figures.get(Figure::dense_layers, 0)) return false;
  if (figures.is_list(Figure::expert_period)) {
    return figures.find(Figure::expert_period, layer) != 0;
  }
  const std::uint64_t period = figures.get(Figure::expert_period, 1);
  if (period == 0) return false;
  // DeepSeek counts layers from 0. Other models that state no offset count them from 1.
  const bool from_zero = figures.entry("moe_layer_freq") != nullptr;
  return layer % period == figures.get(Figure::expert_offset, from_zero ? 0 : period - 1);
}

/// For each layer, whether it has a router; empty if there are no tensors.
std::vector<bool> routed_layers(const TensorDirectory& tensors, std::uint64_t count) {
  std::vector<bool> routed(tensors.empty() ? 0 : count);
  for (const TensorEntry& tensor : tensors.entries()) {
    const auto layer = tensor.id.text_layer();
    if (!layer || *layer >= count || tensor.id.piece != Piece::weight) continue;
    if (tensor.id.part == Part::router) routed[*layer] = true;
  }
  return routed;
}

void set_experts(const Figures& figures, LayerShape& shape) {
  shape.experts = figures.get(Figure::experts, 0);
  shape.experts_used = figures.get(Figure::experts_used, 0);
  if (shape.experts_used > shape.experts) {
    figures.throw_figure_error(Figure::experts_used, FormatFault::contradictory,
                               "is greater than the number of experts");
  }
  shape.expert_ffn = figures.get(Figure::expert_ffn, 0);
  shape.shared_ffn = figures.get(Figure::shared_experts, 0) * shape.expert_ffn;
  shape.shared_ffn = figures.get(Figure::shared_ffn, shape.shared_ffn);
}

// Adds a warning for each assumption that no file or engine confirms.
void note_assumptions(const Figures& figures, ModelShape& shape) {
  const Architecture& architecture = figures.architecture();
  if (!architecture.known()) {
    assume(shape, kAllSizes,
           "unknown architecture " + printable(shape.architecture) +
               ": planned from its generic fields, with full attention in each layer that is not "
               "listed as something else");
    return;
  }
  const bool whole = shape.layers.front().attention == Attention::full;
  struct Note {
    bool holds;
    Sizes sizes;
    std::string text;
  };
  const Note notes[] = {
      {!architecture.confirmed(figures.dialect()), kAllSizes,
       "the rules for " + shape.architecture +
           " are those of its published code; no values from an engine or a file confirm them"},
      {architecture.has(kLatent) && figures.of_gguf() && whole, kCacheSizes,
       "attention.key_length_mla is missing, so whole K and V are planned, as engines cache them "
       "for "
       "such files"},
      {figures.says("use_sliding_window"), kCacheSizes,
       "use_sliding_window applies from layer max_window_layers on, as in transformers"},
      {figures.entry("cross_attention_layers") != nullptr, kCacheSizes,
       "the cache that cross-attention layers keep for an image is not planned"},
      {figures.is_list(Figure::compress_ratio), kCacheSizes,
       "compressed caches are planned as a window and one row for each compress_ratio tokens"},
  };
  for (const auto& [holds, sizes, text] : notes) {
    if (holds) assume(shape, sizes, text);
  }
}

// Whether llama.cpp caches every token, whatever window a file states. A shape from a config.json
// has the windows of transformers; one from a header has the engine's.
bool engine_is_windowless(std::string_view architecture) {
  const Architecture& row = find_architecture(Dialect::config, architecture);
  return row.has(kWindowlessEngine) || row.windows.of == Windows::above_first;
}

}  // namespace

void make_layers(const Figures& figures, const TensorDirectory& tensors, std::uint64_t count,
                 ModelShape& shape) {
  const Architecture& architecture = figures.architecture();
  shape.hidden = figures.positive(Figure::hidden);
  if (count == 0) figures.throw_figure_error(Figure::layers, FormatFault::out_of_range, "is 0");
  shape.context = figures.get(Figure::context, 0);
  shape.encoder = architecture.has(kEncoder);

  const std::uint64_t owners = cache_owners(figures, count);
  const bool moe = figures.get(Figure::experts, 0) != 0;
  figures.consider(Figure::ffn);  // Only dense layers need it.
  const std::vector<bool> routed = routed_layers(tensors, count);
  shape.layers.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const LayerParts parts = layer_parts(figures, i);
    LayerShape& layer = shape.layers[i];
    if (parts.attention != Attention::none) {
      set_attention(figures, i, parts.attention, layer);
      set_latent(figures, i, layer);
      set_compressed(figures, i, layer);
      require_widths(figures, layer);
      layer.shares_cache = i >= owners;
    }
    if (parts.state) set_state(figures, architecture.state.kind, layer);
    if (!parts.feed_forward) continue;
    if (moe && (routed.empty() ? has_experts(figures, i) : routed[i])) {
      set_experts(figures, layer);
      // Gemma 4 has a dense part in addition, which every token uses.
      if (architecture.family == Family::gemma4) {
        layer.shared_ffn = dense_width(figures, i);
      }
    } else {
      layer.ffn = dense_width(figures, i);
    }
  }
  note_assumptions(figures, shape);
  shape.graph = graph_shape(figures.for_sizes(kNoSizes), tensors, shape);
  shape.windowless_engine = engine_is_windowless(shape.architecture);
}

}  // namespace tapedeck::internal
