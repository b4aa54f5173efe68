// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/printable.hpp"
#include "model/layers.hpp"
#include "model/words.hpp"

namespace tapedeck::internal {
namespace {

constexpr LayerParts kFull{};
constexpr LayerParts kWindowed{.attention = Attention::windowed};
constexpr LayerParts kChunked{.attention = Attention::chunked};
constexpr LayerParts kState{.attention = Attention::none, .state = true};
constexpr LayerParts kNeither{.attention = Attention::none};

// The words of layer_types and layers_block_type, and the letters of Nemotron-H, whose layers have
// one part each.
constexpr auto kWordsOfParts = std::to_array<std::pair<LayerParts, std::string_view>>({
    {kFull, "full_attention attention compressed_sparse_attention heavily_compressed_attention"},
    {kWindowed, "sliding_attention"},
    {kChunked, "chunked_attention"},
    {kState, "linear_attention mamba mamba2 conv recurrent"},
    {{.attention = Attention::full, .state = true}, "hybrid"},
    {kNeither, "mlp moe - E"},
    {{.attention = Attention::none, .state = true, .feed_forward = false}, "M"},
    {{.attention = Attention::full, .state = false, .feed_forward = false}, "*"},
});

[[noreturn]] void throw_says_nothing_of(const Figures& figures, std::string_view keys,
                                        std::size_t layer) {
  figures.throw_figure_error(*figures.entry(keys), FormatFault::missing,
                             "has no element for layer " + std::to_string(layer));
}

/// The element for a layer, or nullptr if the list is empty. Throws if the list is too short.
template <typename List>
auto element_of(const Figures& figures, std::string_view keys, const List& list, std::size_t layer)
    -> decltype(list.data()) {
  if (list.empty()) return nullptr;
  if (layer < list.size()) return &list[layer];
  throw_says_nothing_of(figures, keys, layer);
}

LayerParts parts_of(const Figures& figures, std::string_view keys, std::string_view word) {
  for (const auto& [parts, words] : kWordsOfParts) {
    if (has_word(words, word)) return parts;
  }
  figures.throw_figure_error(*figures.entry(keys), FormatFault::unsupported,
                             "has a layer of an unknown kind: " + printable(word));
}

// The parts of a layer by one of the many kinds of lists that files have.
std::optional<LayerParts> listed_parts(const Figures& figures, std::size_t layer) {
  constexpr std::string_view kKinds = "layer_types layers_block_type";
  if (const auto* kind = element_of(figures, kKinds, figures.texts(kKinds), layer)) {
    LayerParts parts = parts_of(figures, kKinds, *kind);
    if (figures.architecture().state.in == States::without_kv_and_ffn) {  // one part per layer
      parts.feed_forward = parts.attention == Attention::none && !parts.state;
    }
    return parts;
  }
  constexpr std::string_view kPattern = "hybrid_override_pattern";
  if (const auto letters = figures.text(kPattern)) {
    if (layer < letters->size()) return parts_of(figures, kPattern, letters->substr(layer, 1));
    throw_says_nothing_of(figures, kPattern, layer);
  }
  constexpr std::string_view kStates = "attention.recurrent_layers";
  if (const auto* state = element_of(figures, kStates, figures.integers(kStates), layer)) {
    return *state != 0 ? kState : kFull;
  }
  // These number the layers from 1.
  if (const auto list = figures.integers("linear_attn_config.kda_layers"); !list.empty()) {
    figures.consider("linear_attn_config.full_attn_layers");  // the other layers
    return is_listed(list, layer + 1) ? kState : kFull;
  }
  if (const auto list = figures.integers("attn_layer_indices"); !list.empty()) {
    return is_listed(list, layer) ? kFull : kState;
  }
  // These layers attend to an image, not to the talk.
  if (is_listed(figures.integers("cross_attention_layers"), layer)) return kNeither;
  // Nemotron-NAS omits parts of a Llama model in some layers.
  const std::string block = "block_configs." + std::to_string(layer);
  if (const auto missing = figures.flag(block + ".attention.no_op")) {
    const bool linear = figures.says(block + ".attention.replace_with_linear");
    return LayerParts{.attention = *missing || linear ? Attention::none : Attention::full,
                      .feed_forward = !figures.says(block + ".ffn.no_op")};
  }
  return std::nullopt;
}

// llama.cpp reads a list of windowed layers only for architectures with a known pattern. For one
// that is not in the table, the list is the best information.
bool reads_list(const Figures& figures) {
  const Architecture& architecture = figures.architecture();
  if (!figures.of_gguf() || !architecture.known()) return true;
  return architecture.windows.period != 0 || architecture.has(kListedWindows);
}

std::optional<bool> listed_window(const Figures& figures, std::size_t layer) {
  constexpr std::string_view kLetters = "sliding_window_pattern";
  if (const auto letters = figures.text(kLetters); letters && !letters->empty()) {
    return (*letters)[layer % letters->size()] == 'L';
  }
  if (reads_list(figures) && figures.is_list(Figure::window_period)) {
    return figures.find(Figure::window_period, layer) != 0;
  }
  constexpr std::string_view kNumbers = "hybrid_layer_pattern no_rope_layers";
  if (const auto* number = element_of(figures, kNumbers, figures.integers(kNumbers), layer)) {
    return *number != 0;
  }
  return std::nullopt;
}

bool windowed_by_rule(const Figures& figures, std::size_t layer) {
  const WindowRule& windows = figures.architecture().windows;
  if (windows.of == Windows::none) return false;
  if (windows.of == Windows::all) return true;
  if (windows.of == Windows::above_first) {
    return figures.says("use_sliding_window") &&
           layer >= figures.get(Figure::first_windowed_layer, 0);
  }
  const std::uint64_t period = figures.get(Figure::window_period, windows.period);
  const bool first = windows.of == Windows::but_first_of;
  // As in llama.cpp, a period of 0 means all layers.
  return period == 0 || layer % period != (first ? 0 : period - 1);
}

// Whether these have an effect depends on the architecture and on each other.
void consider_windows(const Figures& figures) {
  for (const Figure rule : {Figure::window, Figure::window_period, Figure::first_windowed_layer}) {
    figures.consider(rule);
  }
  figures.consider("_sliding_window_pattern no_rope_layers no_rope_layer_interval");
}

// Whether llama.cpp uses windows at all.
bool engine_has_windows(const Figures& figures) {
  const Architecture& architecture = figures.architecture();
  if (architecture.has(kWindowlessEngine)) return false;
  const std::uint64_t depth = figures.get(Figure::layers, 0) - figures.get(Figure::draft_layers, 0);
  return architecture.windowed_depth == 0 || depth == architecture.windowed_depth;
}

Attention attention_of(const Figures& figures, std::size_t layer) {
  const Architecture& architecture = figures.architecture();
  consider_windows(figures);
  const bool config = !figures.of_gguf();
  if (!config && !engine_has_windows(figures)) return Attention::full;
  if (!figures.flag("use_sliding_window").value_or(true)) return Attention::full;
  const bool chunks = architecture.has(kChunks);
  // Llama 4: headers do not state the chunk size; a header without chunks states a window of 0.
  const bool by_chunk = config && chunks;
  const std::uint64_t absent = config || !chunks ? 0 : architecture.engine_window;
  const std::uint64_t window = figures.get(by_chunk ? Figure::chunk : Figure::window, absent);
  if (window == 0) return Attention::full;
  // A window that is not smaller than the context has no effect.
  const std::uint64_t context = figures.get(Figure::context, 0);
  if (config && context != 0 && window >= context) return Attention::full;
  const std::optional<bool> stated = listed_window(figures, layer);
  const bool windowed = stated ? *stated : windowed_by_rule(figures, layer);
  if (!windowed) return Attention::full;
  return chunks ? Attention::chunked : Attention::windowed;
}

bool keeps_state(const Figures& figures, std::size_t layer) {
  const States states = figures.architecture().state.in;
  if (states == States::none) return false;
  if (states == States::all || states == States::beside_attention) return true;
  if (const auto period = figures.find(Figure::attention_period)) {
    return layer % figures.positive(Figure::attention_period) !=
           figures.get(Figure::attention_offset, *period - 1);
  }
  if (figures.get(Figure::kv_heads, 1, layer) != 0) return false;
  return states == States::without_kv || figures.get(Figure::ffn, 0, layer) == 0;
}

}  // namespace

bool is_listed(std::span<const std::int64_t> layers, std::size_t layer) noexcept {
  return std::find(layers.begin(), layers.end(), static_cast<std::int64_t>(layer)) != layers.end();
}

LayerParts layer_parts(const Figures& figures, std::size_t layer) {
  if (const auto parts = listed_parts(figures, layer)) {
    // The list says in other words which layers these are.
    consider_windows(figures);
    figures.consider(Figure::attention_period);
    figures.consider(Figure::attention_offset);
    // A list of kinds may name windowed layers although windows are switched off.
    if (parts->attention != Attention::windowed) return *parts;
    return figures.get(Figure::window, 0) != 0 ? *parts : kFull;
  }
  LayerParts parts;
  parts.state = keeps_state(figures, layer);
  const bool attends = !parts.state || figures.architecture().state.in == States::beside_attention;
  // A list of KV heads may contain 0 for a layer without attention.
  const bool cached =
      !figures.is_list(Figure::kv_heads) || figures.find(Figure::kv_heads, layer) != 0;
  parts.attention = attends && cached ? attention_of(figures, layer) : Attention::none;
  if (figures.is_list(Figure::ffn)) parts.feed_forward = figures.find(Figure::ffn, layer) != 0;
  return parts;
}

}  // namespace tapedeck::internal
