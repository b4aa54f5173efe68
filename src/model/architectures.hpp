// SPDX-License-Identifier: Apache-2.0
/// @file
/// The table of architectures: properties that a model's own figures do not state.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "model/figures.hpp"
#include "tapedeck/model/metadata.hpp"
#include "tapedeck/model/model_shape.hpp"
#include "tapedeck/model/tensor_directory.hpp"

namespace tapedeck::internal {

/// Which layers attend only to a window, if the file has no list of them.
enum class Windows : std::uint8_t {
  none,
  all,
  above_first,   ///< From `max_window_layers` on, if `use_sliding_window` is true (Qwen2).
  but_last_of,   ///< All but the last of each `period` layers.
  but_first_of,  ///< All but the first of each `period` layers.
};

/// The rule for layers that attend only to a window.
struct WindowRule {
  Windows of = Windows::none;
  std::uint8_t period = 0;
};

/// Which layers keep a recurrent state, if the file has no list of them.
enum class States : std::uint8_t {
  none,
  all,
  beside_attention,    ///< Every layer has both (Falcon-H1).
  without_kv,          ///< Layers without KV heads, or all but one of each attention period.
  without_kv_and_ffn,  ///< Layers with neither KV heads nor a feed-forward part (Nemotron-H).
};

/// The rule for layers that keep a recurrent state.
struct StateRule {
  Recurrence kind = Recurrence::none;
  States in = States::none;
};

/// How an architecture's tensors differ from the default, which is a gated feed-forward part, two
/// norms per layer and no biases. One bit each.
enum Trait : std::uint32_t {
  kQkvBias = 1U << 0U,
  kOutputBias = 1U << 1U,  ///< The attention's output projection has a bias.
  kFfnBias = 1U << 2U,
  kNormBias = 1U << 3U,
  kHeadBias = 1U << 4U,
  kPlainFfn = 1U << 5U,   ///< The feed-forward part has up and down, but no gate.
  kTied = 1U << 6U,       ///< The head is the embedding table, unless the file states otherwise.
  kPositions = 1U << 7U,  ///< A learned table of positions.
  kEmbeddingNorm = 1U << 8U,
  kHeadNorms = 1U << 9U,   ///< Queries and keys are normed, each head separately.
  kWideNorms = 1U << 10U,  ///< Queries and keys are normed, all heads together.
  kFourNorms = 1U << 11U,  ///< There are norms after attention and feed-forward part, too.
  kOneNorm = 1U << 12U,    ///< Attention and feed-forward part share one norm.
  kSinks = 1U << 13U,      ///< Attention has sinks, one number for each head.
  kRouterBias = 1U << 14U,
  kExpertBias = 1U << 15U,
  kSharedGate = 1U << 16U,  ///< The shared expert has a gate of one row.
  kLowRank = 1U << 17U,     ///< Queries, keys and values come from low-rank projections.
  kLatent = 1U << 18U,      ///< The low-rank row is cached.
  kHalvedFfn = 1U << 19U,   ///< intermediate_size counts both branches (Qwen).
  kOutputGate = 1U << 20U,  ///< The query projection also computes a gate (Qwen3-Next).
  kEncoder = 1U << 21U,
  kWindowlessEngine = 1U << 22U,   ///< llama.cpp caches every token, whatever the window.
  kChunks = 1U << 23U,             ///< The windows are chunks.
  kUnknownParameters = 1U << 24U,  ///< Some tensors of the architecture are not known here.
  kInputBiasOnly = 1U << 25U,      ///< attention_bias does not apply to the output projection.
  kOptionalHeadNorms = 1U << 26U,  ///< Like kHeadNorms, but only if use_qk_norm is true.
  kRouterCorrection = 1U << 27U,   ///< The router has a correction, one number for each expert.
  kStateNorms = 1U << 28U,         ///< There are norms inside the recurrent branch (Jamba).
  kOffsetPositions = 1U << 29U,    ///< The table of positions has extra rows in front (OPT).
  kListedWindows = 1U << 30U,      ///< llama.cpp takes windowed layers only from the file's list.
  kSharedIndexers = 1U << 31U,     ///< Some layers use the keys an earlier indexer chose (GLM).
};

/// Tensors that only one family has, in addition to those of the traits.
enum class Family : std::uint8_t {
  none,
  bert,     ///< Has token types and a pooler; nothing follows the last layer.
  olmo,     ///< Norms have no weights.
  mllama,   ///< Some layers attend to an image, which has tokens of its own.
  gemma3n,  ///< Like gemma4, and each layer mixes four streams.
  gemma4,   ///< Has an embedding for each layer.
  opt,      ///< Tokens may be embedded in a width of their own; the last norm may be missing.
  rwkv7,    ///< Time mixing has low-rank gates.
};

/// What confirms the rules of a row. A shape that is made by confirmed rules is exact.
enum Tested : std::uint8_t {
  kNothing = 0,
  kEngine = 1,  ///< Sizes that llama.cpp printed for GGUF files with these rules.
  kCount = 2,   ///< The published parameter count of a config.json.
  kSource = 4,  ///< llama.cpp's source, line by line, for the caches of a GGUF file.
};

/// A row of the table.
struct Architecture {
  // Names, separated by spaces.
  std::string_view both{};    ///< Values of both general.architecture and model_type.
  std::string_view gguf{};    ///< Values of general.architecture only.
  std::string_view config{};  ///< Values of model_type only.
  std::uint32_t traits = 0;
  Family family = Family::none;
  std::uint8_t tested = kNothing;
  WindowRule windows{};
  std::uint8_t windowed_depth = 0;  ///< If not 0, llama.cpp has windows only at this layer count.
  std::uint32_t engine_window = 0;  ///< Window that llama.cpp uses, whatever a file states.
  StateRule state{};
  std::array<Default, 2> defaults{};         ///< Figures that a file may omit.
  std::array<Default, 6> config_defaults{};  ///< Further ones for a config, from transformers.

  /// False for the row that is returned for an unknown architecture.
  [[nodiscard]] constexpr bool known() const noexcept {
    return !both.empty() || !gguf.empty() || !config.empty();
  }
  /// The names in one dialect, without those in `both`.
  [[nodiscard]] constexpr std::string_view names(Dialect dialect) const noexcept {
    return dialect == Dialect::gguf ? gguf : config;
  }
  [[nodiscard]] constexpr bool has(Trait trait) const noexcept { return (traits & trait) != 0; }
  /// True if, in a GGUF file, every layer attends to every token and caches whole K and V.
  [[nodiscard]] constexpr bool plain() const noexcept {
    const bool windowless =
        windows.of == Windows::none || windows.of == Windows::above_first || has(kWindowlessEngine);
    return windowless && state.in == States::none && !has(kLatent) && !has(kUnknownParameters) &&
           !has(kListedWindows);
  }
  /// True if the rules for this dialect are confirmed. Plain rules for GGUF need no confirmation.
  [[nodiscard]] constexpr bool confirmed(Dialect dialect) const noexcept {
    if (dialect == Dialect::config) return (tested & kCount) != 0;
    return (tested & (kEngine | kSource)) != 0 || plain();
  }
};

[[nodiscard]] std::span<const Architecture> architectures() noexcept;

/// The row with this name. For a name that is not in the table, it is one that is not `known`.
[[nodiscard]] const Architecture& find_architecture(Dialect dialect,
                                                    std::string_view name) noexcept;

/// Derives the shape of a model from its GGUF header. The tensors decide what the metadata does not
/// state. The shape has no layers if the header states too little.
/// @throws FormatError for impossible figures.
[[nodiscard]] ModelShape gguf_shape(const std::string& path, const Metadata& metadata,
                                    const TensorDirectory& tensors);

/// Derives the shape of a model from its Hugging Face config.json.
/// @param listed  whether files list the model's tensors, so that its weights need not be counted
/// @throws FormatError for figures that are impossible or missing.
[[nodiscard]] ModelShape config_shape(const std::string& path, const Metadata& metadata,
                                      bool listed = false);

}  // namespace tapedeck::internal
