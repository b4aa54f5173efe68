// SPDX-License-Identifier: Apache-2.0
/// @file
/// `PartId`: what a tensor or a region is, independent of its name.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The role of a tensor or a region in a model.
enum class Part : std::uint8_t {
  other,
  // Parts before and after the layers.
  embedding,
  position_embedding,
  embedding_norm,
  final_norm,
  head,
  // Norms of a layer. `norm` is any norm without a value of its own.
  norm,
  attention_norm,
  attention_norm_2,  ///< A second attention norm, if both blocks read the layer's input (Falcon).
  post_attention_norm,
  ffn_norm,
  // Attention.
  query,
  key,
  value,
  query_key_value,   ///< Query, key and value in one tensor.
  query_low_rank,    ///< Projects to the low-rank row that queries are computed from (MLA).
  latent,            ///< Projects to the latent row that keys and values come from (MLA).
  latent_key_value,  ///< Projects the latent row to keys and values.
  attention_output,
  attention_inner_norm,  ///< A norm of queries, keys or the latent row.
  attention_other,       ///< Sinks, gates.
  // The dense feed-forward part.
  gate,
  up,
  down,
  gate_up,  ///< Gate and up, in one tensor or treated as one.
  // Routed experts: a single one, or all in one tensor (`PartId::expert`).
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
  // The state of a conversation.
  key_cache,
  value_cache,
  latent_cache,
  indexer_cache,
  convolution_state,
  recurrent_state,
};

/// The model that a part belongs to; one set of files may hold several.
enum class Tower : std::uint8_t {
  text,
  vision,
  audio,
  draft,  ///< Proposes tokens (MTP); the text decoder confirms them.
};

/// Which tensor of a part this is, if the part is stored as several tensors.
enum class Piece : std::uint8_t { weight, bias, scale, zero_point, index };

/// The block of a layer that a part belongs to.
enum class LayerBlock : std::uint8_t { none, attention, ffn, experts, shared_experts, recurrent };

/// The identity of a tensor or a region. The reader of a file format derives it once from the names
/// in that format. All other code uses the identity; names are only shown to people.
/// Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// const PartId keys = {.layer = 3, .part = Part::key_cache};
/// assert(keys == (PartId{.layer = 3, .part = Part::key_cache}));
/// assert(keys.tower == Tower::text && !keys.expert);
/// assert(block_of(Part::expert_up) == LayerBlock::experts);
/// @endcode
struct PartId {
  std::optional<std::uint32_t> layer{};   ///< Within its tower, from 0; empty outside layers.
  std::optional<std::uint32_t> expert{};  ///< Empty if all experts are in one tensor.
  Part part = Part::other;
  Tower tower = Tower::text;
  Piece piece = Piece::weight;
  /// True if it holds this part for every layer that has one, one after another.
  bool every_layer = false;

  /// The layer of the text decoder; `nullopt` for parts of another tower.
  [[nodiscard]] constexpr std::optional<std::uint32_t> text_layer() const noexcept {
    return tower == Tower::text ? layer : std::nullopt;
  }

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the 0 of a comparison for a pointer
  friend auto operator<=>(const PartId&, const PartId&) = default;
};

/// The block that a part belongs to; `none` for parts outside layers, the norms that any layer may
/// have, and the state of a conversation.
[[nodiscard]] constexpr LayerBlock block_of(Part part) noexcept {
  if (part >= Part::query && part <= Part::attention_other) return LayerBlock::attention;
  if (part >= Part::gate && part <= Part::gate_up) return LayerBlock::ffn;
  if (part >= Part::router && part <= Part::expert_other) return LayerBlock::experts;
  if (part >= Part::shared_gate && part <= Part::shared_other) return LayerBlock::shared_experts;
  if (part >= Part::convolution && part <= Part::recurrent_norm) return LayerBlock::recurrent;
  return LayerBlock::none;
}

/// True for parts of routed experts; false for the router.
[[nodiscard]] constexpr bool is_expert(Part part) noexcept {
  return part >= Part::expert_gate && part <= Part::expert_other;
}

[[nodiscard]] constexpr bool is_norm(Part part) noexcept {
  return part == Part::embedding_norm || part == Part::final_norm ||
         (part >= Part::norm && part <= Part::ffn_norm) || part == Part::attention_inner_norm ||
         part == Part::recurrent_norm;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
