/// @file
/// `plan_streaming`: a model whose layers take turns in a few slots on the device.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct StreamingOptions {
  /// Layers on the device at a time that take turns: with 2, one is copied while the other
  /// computes; with 1, nothing overlaps.
  std::uint64_t slots = 2;
  /// Bytes that weights may take on the device: as many layers as fit beside the slots stay there,
  /// the first ones. Nothing: none stays.
  std::optional<std::uint64_t> device_bytes{};
  /// The ring of pinned buffers through which weights go that are not pinned themselves.
  std::uint64_t staging_buffer = 8_MiB;
  std::uint64_t staging_buffers = 4;
};

/// A tensor, or the part of it that belongs to one layer, or one expert's part of that.
struct StreamedPart {
  static constexpr std::uint32_t kNoExpert = 0xffff'ffff;

  std::uint32_t tensor = 0;  ///< Its place in `Model::tensors`.
  std::uint32_t expert = kNoExpert;
  std::uint64_t from = 0;  ///< Bytes, from where the tensor begins.
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;  ///< Bytes, from where the layer begins on the device.
};

struct StreamedLayer {
  std::vector<StreamedPart> parts{};  ///< By offset; none overlaps another, and none is empty.
  std::uint64_t bytes = 0;            ///< The extent, in whole 256 bytes.
  std::uint64_t experts = 0;          ///< That its parts are told apart by; 0: a dense layer.
  /// Where it stays, an index into the regions of `StreamingPlan::device`; nothing: it takes turns.
  std::optional<std::uint32_t> resident{};
};

/// Every byte of layer streaming, as regions. Thread-safety: a value.
struct StreamingPlan {
  /// Of the device's weights tape, in this order: the tensors of no layer by their own names,
  /// "resident.N" for each layer that stays, and "slot.0", "slot.1" and so on, each as large as the
  /// largest layer that takes turns. Each is aligned to 256 bytes.
  TapePlan device{TapeKind::weights};
  /// Of pinned host memory: "staging.0" and so on. What stays on the device comes through it; then
  /// it is given back, unless weights are not pinned.
  TapePlan staging{TapeKind::scratch};
  std::vector<StreamedLayer> layers;
  /// Tensors of no layer, in the order of their regions: embedding, last norm, classifier.
  std::vector<std::uint32_t> outer;
  std::uint64_t slots = 0;  ///< 0 where every layer stays.
  /// Bytes that a token's step copies: all parts of the layers that take turns, without the gaps
  /// between them that are copied along; of experts, as many as a token uses.
  std::uint64_t token_bytes = 0;
  /// What the device's weights would take with one slot and no layer that stays (the estimate of
  /// realizar's StreamingConfig, here from the model's own tensors).
  std::uint64_t one_slot_bytes = 0;
  /// What they take at least with the slots that were asked for: where a few layers are streamed
  /// through many slots, that is with some that stay. `device_bytes` of so many are enough.
  std::uint64_t least_bytes = 0;

  /// Bytes of one slot; 0 where every layer stays.
  [[nodiscard]] std::uint64_t slot_bytes() const noexcept;
  [[nodiscard]] std::uint64_t resident_layers() const noexcept;
};

/// Plans the weights of a model for layer streaming. Parts of a layer lie on the device as they lie
/// in their file where that leaves each at a multiple of 16 bytes, so that they can be copied as
/// one: a run, with gaps of 4 KiB at most, which begins at a multiple of 256. A tensor
/// belongs to the layer of its `PartId`; of one that holds every layer, each layer has its share.
/// Tensors of other towers (vision, audio, draft) belong to no layer.
/// Of what the shape calls experts, each is a part of its own, also of tensors that hold all of
/// them. Tensors of no bytes are left out. O(parts log parts).
/// @throws InvalidArgument for a model without tensors or without layers, 0 slots, no staging
/// buffer or buffers of 0 bytes, more than 65,536 of either, more experts than any model has, or
/// `device_bytes` that do not hold the tensors of no layer and the slots: the message states both.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const Model model = read_model("llama.gguf");
/// const StreamingPlan plan = plan_streaming(model, {.device_bytes = 8_GiB});
/// std::cout << plan.resident_layers() << " layers stay, a token copies "
///           << to_iec(plan.token_bytes) << '\n';
/// @endcode
[[nodiscard]] StreamingPlan plan_streaming(const Model& model,
                                           const StreamingOptions& options = {});

}  // namespace tapedeck::inline TAPEDECK_ABI
