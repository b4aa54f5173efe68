// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ModelShape`: the dimensions of a model that its memory use depends on, layer by layer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/part_id.hpp"
#include "tapedeck/model/graph_shape.hpp"
#include "tapedeck/model/stored_quantization.hpp"  // IWYU pragma: export

namespace tapedeck::inline TAPEDECK_ABI {

/// Which past tokens a layer's attention keeps.
enum class Attention : std::uint8_t {
  none,
  full,      ///< Every token.
  windowed,  ///< The last `window` tokens.
  chunked,   ///< The tokens of the current chunk of `window` tokens (Llama 4).
  latent,    ///< Every token, as one compressed row (multi-head latent attention, MLA).
};

/// The recurrent state that a layer keeps instead of, or in addition to, an attention cache. It has
/// a fixed size per sequence and is stored in f32.
enum class Recurrence : std::uint8_t {
  none,
  mamba1,
  mamba2,
  gated_delta,        ///< Gated delta net (Qwen3-Next, Qwen3.5) and Kimi's delta attention.
  short_convolution,  ///< LFM2.
  rwkv,
};

[[nodiscard]] const char* to_string(Attention kind) noexcept;
[[nodiscard]] const char* to_string(Recurrence kind) noexcept;

/// One layer. Widths are counts of elements; 0 means that the layer has no such part.
struct LayerShape {
  Attention attention = Attention::none;
  bool shares_cache = false;         ///< Reads K and V of an earlier layer, has none (Gemma 3n, 4).
  std::uint64_t heads = 0;           ///< Number of query heads.
  std::uint64_t kv_heads = 0;        ///< Number of cached K and V heads.
  std::uint64_t key_dim = 0;         ///< Width of one head's key; of the latent row if latent.
  std::uint64_t value_dim = 0;       ///< Width of one head's value; 0 if latent, as K contains it.
  std::uint64_t window = 0;          ///< Tokens; for windowed and chunked attention.
  std::uint64_t indexer_dim = 0;     ///< Width of a sparse indexer's key per token (DeepSeek V3.2).
  std::uint64_t compress_ratio = 0;  ///< Tokens per cached row (DeepSeek V4); 0 means 1.

  Recurrence recurrence = Recurrence::none;
  std::uint64_t conv_state = 0;  ///< Elements of the convolution's (or token shift's) state.
  std::uint64_t state = 0;       ///< Elements of the recurrent state.
  std::uint64_t inner = 0;       ///< Width of the recurrent branch (d_inner).

  std::uint64_t ffn = 0;           ///< Width of the dense feed-forward part.
  std::uint64_t experts = 0;       ///< Number of routed experts.
  std::uint64_t experts_used = 0;  ///< Number of routed experts that each token uses.
  std::uint64_t expert_ffn = 0;    ///< Width of each routed expert.
  std::uint64_t shared_ffn = 0;    ///< Total width of the experts that every token uses.

  friend bool operator==(const LayerShape&, const LayerShape&) = default;
};

/// The kinds of parameter tensors that formats and engines treat differently.
enum class ParameterKind : std::uint8_t { matrix, embedding, head, expert, norm, bias, other };

/// A group of equal tensors that the architecture implies: `count` tensors of `rows` × `columns`.
struct Parameter {
  std::string name{};  ///< "layers.ffn.gate"
  ParameterKind kind{};
  std::uint64_t count = 0;    ///< Number of such tensors (over layers and experts).
  std::uint64_t rows = 0;     ///< Outer dimension; 1 for a vector.
  std::uint64_t columns = 0;  ///< Contiguous dimension, the one that is quantized in blocks.
  PartId id{};
};

/// The dimensions of a model that its memory use depends on. They are derived from the file's own
/// metadata by one table of architectures (src/model/architectures.cpp). Thread-safety: a value.
struct ModelShape {
  std::string architecture{};  ///< As the file names it: "llama", "qwen3_moe".
  std::string name{};          ///< The model's own name, or empty.
  std::uint64_t hidden = 0;
  std::uint64_t vocabulary = 0;
  std::uint64_t context = 0;  ///< Tokens the model was trained for; 0 if not stated.
  bool tied = false;          ///< The output head is the embedding table.
  bool encoder = false;       ///< Has neither a logits head nor a cache (BERT).
  std::vector<LayerShape> layers{};
  std::uint64_t draft_layers = 0;  ///< Number of layers after `layers` that only draft tokens.

  /// The parameters that the architecture implies for the text decoder, the embeddings and the
  /// head, without buffers that a checkpoint may store but an engine does not load (causal masks,
  /// rotary frequencies, a copy of a tied head). Empty if the rules for the architecture's
  /// parameters are not known; only a tensor directory can then list them.
  std::vector<Parameter> parameters{};
  /// The type of the weights as the file states it, if it does.
  std::optional<DType> dtype{};
  StoredQuantization quantization{};
  GraphShape graph{};
  /// True if llama.cpp caches every token in the windowed layers of this architecture.
  bool windowless_engine = false;

  /// True if every rule that was applied to the caches is covered by a test against a real file or
  /// an engine, and if no field of the file that may bear on them was left unused.
  bool exact_caches = false;
  /// The same for `parameters` and for the widths that the compute buffers follow from.
  bool exact_weights = false;
  /// One line for each assumption: "unknown architecture foo: planned from its generic fields".
  std::vector<std::string> warnings{};

  /// Sum over `parameters`; `nullopt` if there are none, or if the sum overflows.
  [[nodiscard]] std::optional<std::uint64_t> parameter_count() const noexcept;

  [[nodiscard]] bool exact() const noexcept { return exact_caches && exact_weights; }
};

}  // namespace tapedeck::inline TAPEDECK_ABI
