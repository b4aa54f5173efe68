/// @file
/// `ModelShape`: the figures of a model that memory depends on, layer by layer.
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
  latent,    ///< Every token, as one compressed row (MLA).
};

/// What a layer keeps of the past besides attention: a state of fixed size, per sequence, in f32.
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

/// One layer. Widths are counts of elements; 0 is "has none".
struct LayerShape {
  Attention attention = Attention::none;
  bool shares_cache = false;      ///< Reads an earlier layer's K and V and owns none (Gemma 3n, 4).
  std::uint64_t heads = 0;        ///< Query heads.
  std::uint64_t kv_heads = 0;     ///< Heads of K and V that are cached.
  std::uint64_t key_dim = 0;      ///< Of one head. Of a latent row where attention is latent.
  std::uint64_t value_dim = 0;    ///< Of one head. 0 where attention is latent: K holds it.
  std::uint64_t window = 0;       ///< Tokens, of windowed and chunked attention.
  std::uint64_t indexer_dim = 0;  ///< Keys of a sparse indexer, per token (DeepSeek V3.2).
  std::uint64_t compress_ratio = 0;  ///< Tokens that share one cached row (DeepSeek V4); 0: one.

  Recurrence recurrence = Recurrence::none;
  std::uint64_t conv_state = 0;  ///< Elements of the convolution's (or token shift's) state.
  std::uint64_t state = 0;       ///< Elements of the recurrent state.
  std::uint64_t inner = 0;       ///< Width of the recurrent branch (d_inner).

  std::uint64_t ffn = 0;           ///< Width of the dense feed-forward part.
  std::uint64_t experts = 0;       ///< Routed experts,
  std::uint64_t experts_used = 0;  ///< of which a token uses these,
  std::uint64_t expert_ffn = 0;    ///< each this wide.
  std::uint64_t shared_ffn = 0;    ///< Width of the experts that every token uses, together.

  friend bool operator==(const LayerShape&, const LayerShape&) = default;
};

/// What part of a model a parameter tensor is, as far as formats and engines treat it differently.
enum class ParameterKind : std::uint8_t { matrix, embedding, head, expert, norm, bias, other };

/// Tensors of one kind that the architecture implies: `count` times `rows` × `columns`.
struct Parameter {
  std::string name{};  ///< "layers.ffn.gate"
  ParameterKind kind{};
  std::uint64_t count = 0;    ///< How many such tensors there are (layers, experts).
  std::uint64_t rows = 0;     ///< Outer dimension; 1 for a vector.
  std::uint64_t columns = 0;  ///< Contiguous dimension: the one that is quantized in blocks.
  PartId id{};
};

/// The figures of a model that memory depends on. Made from a file's own metadata by one table of
/// architectures (src/model/architectures.cpp). Thread-safety: a value.
struct ModelShape {
  std::string architecture{};  ///< As the file names it: "llama", "qwen3_moe".
  std::string name{};          ///< The model's own name, or empty.
  std::uint64_t hidden = 0;
  std::uint64_t vocabulary = 0;
  std::uint64_t context = 0;  ///< Tokens the model was made for; 0: not stated.
  bool tied = false;          ///< The output head is the embedding table.
  bool encoder = false;       ///< No logits head, no cache (BERT).
  std::vector<LayerShape> layers{};
  std::uint64_t draft_layers = 0;  ///< Layers behind these that only draft tokens.

  /// What the architecture implies for the text decoder, embeddings and head; empty where the rules
  /// of its parameters are not known (then only a tensor directory tells).
  std::vector<Parameter> parameters{};
  /// The type the file says its weights are in; nothing where it says none.
  std::optional<DType> dtype{};
  StoredQuantization quantization{};
  GraphShape graph{};
  /// llama.cpp keeps every token in windowed layers of this architecture, whatever the window.
  bool windowless_engine = false;

  /// True where every rule that was used is covered by a test against a real file or an engine.
  bool exact = false;
  /// One line for each assumption: "unknown architecture foo: planned from its generic fields".
  std::vector<std::string> warnings{};

  /// Sum over `parameters`; nothing where there are none, or where it overflows.
  [[nodiscard]] std::optional<std::uint64_t> parameter_count() const noexcept;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
