/// @file
/// The table of architectures: what a model's own figures leave to be known.
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

/// Which layers attend to a window only, where the file has no list of its own.
enum class Windows : std::uint8_t {
  none,
  all,
  above_first,   ///< From `max_window_layers` on, where `use_sliding_window` says so (Qwen2).
  but_last_of,   ///< All but the last of each `period` layers.
  but_first_of,  ///< All but the first of each `period` layers.
};

/// Layers that attend to a window only.
struct WindowRule {
  Windows of = Windows::none;
  std::uint8_t period = 0;
};

/// Which layers keep a recurrent state, where the file has no list of its own.
enum class States : std::uint8_t {
  none,
  all,
  beside_attention,    ///< Every layer has both (Falcon-H1).
  without_kv,          ///< Layers without KV heads, or all but one of each attention period.
  without_kv_and_ffn,  ///< Layers with neither KV heads nor a feed-forward part (Nemotron-H).
};

/// Layers that keep a recurrent state.
struct StateRule {
  Recurrence kind = Recurrence::none;
  States in = States::none;
};

/// What the tensors of an architecture are like, beside a gated feed-forward part, two norms a
/// layer and no bias. One bit each.
enum Trait : std::uint32_t {
  kQkvBias = 1U << 0U,
  kOutputBias = 1U << 1U,  ///< Of the attention's output projection.
  kFfnBias = 1U << 2U,
  kNormBias = 1U << 3U,
  kHeadBias = 1U << 4U,
  kPlainFfn = 1U << 5U,   ///< Up and down, no gate.
  kTied = 1U << 6U,       ///< Unless the file says otherwise.
  kPositions = 1U << 7U,  ///< A learned table of positions.
  kEmbeddingNorm = 1U << 8U,
  kHeadNorms = 1U << 9U,   ///< Of queries and keys, each head by itself.
  kWideNorms = 1U << 10U,  ///< Of queries and keys, all heads together.
  kFourNorms = 1U << 11U,  ///< After attention and feed-forward part too.
  kOneNorm = 1U << 12U,    ///< Attention and feed-forward part share it.
  kSinks = 1U << 13U,      ///< A number for each head.
  kRouterBias = 1U << 14U,
  kExpertBias = 1U << 15U,
  kSharedGate = 1U << 16U,  ///< The shared expert has a gate of one row.
  kLowRank = 1U << 17U,     ///< Queries, keys and values through low-rank projections.
  kLatent = 1U << 18U,      ///< The low-rank row is what is cached.
  kHalvedFfn = 1U << 19U,   ///< intermediate_size counts both branches (Qwen).
  kOutputGate = 1U << 20U,  ///< The query projection holds a gate too (Qwen3-Next).
  kEncoder = 1U << 21U,
  kWindowlessEngine = 1U << 22U,   ///< llama.cpp keeps every token, whatever the window.
  kChunks = 1U << 23U,             ///< The windows are chunks.
  kUnknownParameters = 1U << 24U,  ///< There are tensors that no rule here knows.
  kInputBiasOnly = 1U << 25U,      ///< attention_bias is not one of the output projection.
  kOptionalHeadNorms = 1U << 26U,  ///< As kHeadNorms, where use_qk_norm says so.
  kRouterCorrection = 1U << 27U,   ///< The router has a number for each expert.
  kStateNorms = 1U << 28U,         ///< Inside the recurrent branch (Jamba).
  kOffsetPositions = 1U << 29U,    ///< The table of positions has rows in front (OPT).
  kListedWindows = 1U << 30U,   ///< llama.cpp knows the windowed layers by the file's list alone.
  kSharedIndexers = 1U << 31U,  ///< Some layers use the choice of an earlier one's indexer (GLM).
};

/// Tensors of one family only, beside those that the traits tell of.
enum class Family : std::uint8_t {
  none,
  bert,     ///< Types of tokens, a pooler; nothing behind the last layer.
  olmo,     ///< Norms have no weights.
  mllama,   ///< Layers that attend to an image, and a token for it.
  gemma3n,  ///< As gemma4, and four streams that a layer mixes.
  gemma4,   ///< An embedding for each layer.
  rwkv7,    ///< Time mixing with low-rank gates.
};

/// What confirms the rules of a row; a shape made by it is exact then.
enum Tested : std::uint8_t {
  kNothing = 0,
  kEngine = 1,  ///< Figures that llama.cpp printed for GGUF files with these rules.
  kCount = 2,   ///< The published parameter count of a config.json.
  kSource = 4,  ///< What a GGUF file keeps: llama.cpp's published source, line by line.
};

/// A row of the table.
struct Architecture {
  // Names; several are separated by blanks.
  std::string_view both{};    ///< As general.architecture and as model_type.
  std::string_view gguf{};    ///< general.architecture alone.
  std::string_view config{};  ///< model_type alone.
  std::uint32_t traits = 0;
  Family family = Family::none;
  std::uint8_t tested = kNothing;
  WindowRule windows{};
  std::uint8_t windowed_depth = 0;  ///< llama.cpp has windows only in models of so many layers.
  std::uint32_t engine_window = 0;  ///< What llama.cpp takes, whatever window a file states.
  StateRule state{};
  std::array<Default, 2> defaults{};         ///< What holds where a file is silent.
  std::array<Default, 6> config_defaults{};  ///< What transformers fills in besides, for a config.

  /// False for what stands for an architecture that the table does not have.
  [[nodiscard]] constexpr bool known() const noexcept {
    return !both.empty() || !gguf.empty() || !config.empty();
  }
  /// Besides those of both.
  [[nodiscard]] constexpr std::string_view names(Dialect dialect) const noexcept {
    return dialect == Dialect::gguf ? gguf : config;
  }
  [[nodiscard]] constexpr bool has(Trait trait) const noexcept { return (traits & trait) != 0; }
  /// In a GGUF file: every layer attends to every token and keeps whole K and V.
  [[nodiscard]] constexpr bool plain() const noexcept {
    const bool windowless =
        windows.of == Windows::none || windows.of == Windows::above_first || has(kWindowlessEngine);
    return windowless && state.in == States::none && !has(kLatent) && !has(kUnknownParameters) &&
           !has(kListedWindows);
  }
  [[nodiscard]] constexpr bool confirmed(Dialect dialect) const noexcept {
    if (dialect == Dialect::config) return (tested & kCount) != 0;
    return (tested & (kEngine | kSource)) != 0 || plain();
  }
};

[[nodiscard]] std::span<const Architecture> architectures() noexcept;

/// One that is not `known` for a name the table does not have.
[[nodiscard]] const Architecture& find_architecture(Dialect dialect,
                                                    std::string_view name) noexcept;

/// What a GGUF header says of its model. The tensors decide where the metadata is silent.
/// No layers where it says too little.
/// @throws FormatError for figures that cannot be.
[[nodiscard]] ModelShape gguf_shape(const std::string& path, const Metadata& metadata,
                                    const TensorDirectory& tensors);

/// What a Hugging Face config.json says of its model.
/// @throws FormatError for figures that cannot be, or that are missing.
[[nodiscard]] ModelShape config_shape(const std::string& path, const Metadata& metadata);

}  // namespace tapedeck::internal
