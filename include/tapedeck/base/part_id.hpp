/// @file
/// `PartId`: what a tensor or a region is, whatever it is called.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The role of a tensor or a region in a model.
enum class Part : std::uint8_t {
  other,
  // Before and after the layers.
  embedding,
  position_embedding,
  embedding_norm,
  final_norm,
  head,
  // Norms of a layer. `norm` is any other one.
  norm,
  attention_norm,
  attention_norm_2,  ///< A second one, where both blocks read the layer's input (Falcon).
  post_attention_norm,
  ffn_norm,
  // Attention.
  query,
  key,
  value,
  query_key_value,   ///< All three in one tensor.
  query_low_rank,    ///< Makes the short row that queries are made of (MLA).
  latent,            ///< Makes the row that keys and values are made of (MLA).
  latent_key_value,  ///< Makes keys and values of that row.
  attention_output,
  attention_inner_norm,  ///< Of queries, keys, or the latent row.
  attention_other,       ///< Sinks, gates.
  // The dense feed-forward part.
  gate,
  up,
  down,
  gate_up,  ///< Both, in one tensor or told as one.
  // Routed experts: one of them, or all in one tensor (`PartId::expert`).
  router,
  expert_gate,
  expert_up,
  expert_down,
  expert_gate_up,
  expert_other,
  // The experts that every token uses.
  shared_gate,
  shared_up,
  shared_down,
  shared_gate_up,
  shared_other,
  // The recurrent branch.
  convolution,
  recurrent,
  recurrent_norm,
  // What a conversation keeps.
  key_cache,
  value_cache,
  latent_cache,
  indexer_cache,
  convolution_state,
  recurrent_state,
};

/// The model that a part belongs to, of those that one set of files may hold.
enum class Tower : std::uint8_t {
  text,
  vision,
  audio,
  draft,  ///< Proposes tokens (MTP); the text decoder confirms them.
};

/// The tensor of a part, where it is stored as several.
enum class Piece : std::uint8_t { weight, bias, scale, zero_point, index };

/// The block of a layer that a part is of.
enum class LayerBlock : std::uint8_t { none, attention, ffn, experts, shared_experts, recurrent };

/// The identity of a tensor or a region. The reader of a format sets it once, from the names of its
/// format; everything else asks the identity and leaves names to people.
/// Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const PartId keys = {.layer = 3, .part = Part::key_cache};
/// assert(keys == (PartId{.layer = 3, .part = Part::key_cache}));
/// assert(keys.tower == Tower::text && !keys.expert);
/// assert(block_of(Part::expert_up) == LayerBlock::experts);
/// @endcode
struct PartId {
  std::optional<std::uint32_t> layer{};   ///< Of its tower, from 0; nothing outside of the layers.
  std::optional<std::uint32_t> expert{};  ///< Nothing where all experts are in one tensor.
  Part part = Part::other;
  Tower tower = Tower::text;
  Piece piece = Piece::weight;
  /// It holds the parts of all layers that have such a part, one after the other.
  bool every_layer = false;

  /// The layer of the text decoder; nothing for parts of another tower.
  [[nodiscard]] constexpr std::optional<std::uint32_t> text_layer() const noexcept {
    return tower == Tower::text ? layer : std::nullopt;
  }

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the 0 of a comparison for a pointer
  friend auto operator<=>(const PartId&, const PartId&) = default;
};

/// `none` for parts outside of layers, and for those that every layer has.
[[nodiscard]] constexpr LayerBlock block_of(Part part) noexcept {
  if (part >= Part::query && part <= Part::attention_other) return LayerBlock::attention;
  if (part >= Part::gate && part <= Part::gate_up) return LayerBlock::ffn;
  if (part >= Part::router && part <= Part::expert_other) return LayerBlock::experts;
  if (part >= Part::shared_gate && part <= Part::shared_other) return LayerBlock::shared_experts;
  if (part >= Part::convolution && part <= Part::recurrent_norm) return LayerBlock::recurrent;
  return LayerBlock::none;
}

/// True for routed experts; a router is none.
[[nodiscard]] constexpr bool is_expert(Part part) noexcept {
  return part >= Part::expert_gate && part <= Part::expert_other;
}

[[nodiscard]] constexpr bool is_norm(Part part) noexcept {
  return part == Part::embedding_norm || part == Part::final_norm ||
         (part >= Part::norm && part <= Part::ffn_norm) || part == Part::attention_inner_norm ||
         part == Part::recurrent_norm;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
