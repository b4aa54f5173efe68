// SPDX-License-Identifier: Apache-2.0
/// @file
/// `plan_streaming`: plans a model whose layers take turns in a few slots on the device.
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
  /// Slots on the device in which layers take turns. With 2, one layer is copied while the other
  /// computes. With 1, nothing overlaps.
  std::uint64_t slots = 2;
  /// Bytes that weights may take on the device. The first layers stay there, as many as fit in
  /// addition to the slots. If not set, no layer stays.
  std::optional<std::uint64_t> device_bytes{};
  /// Bytes of each pinned buffer in the ring that copies weights which are not pinned themselves.
  std::uint64_t staging_buffer = 8_MiB;
  std::uint64_t staging_buffers = 4;  ///< Buffers in that ring.
};

/// A tensor, the part of a tensor that belongs to one layer, or one expert's part of that.
struct StreamedPart {
  static constexpr std::uint32_t kNoExpert = 0xffff'ffff;

  std::uint32_t tensor = 0;  ///< Index in `Model::tensors`.
  std::uint32_t expert = kNoExpert;
  std::uint64_t from = 0;  ///< Bytes from the start of the tensor.
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;  ///< Bytes from the start of the layer on the device.
};

struct StreamedLayer {
  std::vector<StreamedPart> parts{};  ///< Sorted by offset, not overlapping, not empty.
  std::uint64_t bytes = 0;            ///< The extent, a multiple of 256.
  std::uint64_t experts = 0;          ///< Experts with parts of their own; 0 if dense.
  /// Index of its region in `StreamingPlan::device` if the layer stays. Not set if it takes turns.
  std::optional<std::uint32_t> resident{};
};

/// All memory of layer streaming, as regions. Thread-safety: a value.
struct StreamingPlan {
  /// The device's weights tape. Its regions are, in this order, the tensors that belong to no
  /// layer, by their own names; "resident.N" for each layer that stays; and "slot.0", "slot.1" and
  /// so on, each as large as the largest layer that takes turns. Every region is aligned to 256
  /// bytes.
  TapePlan device{TapeKind::weights};
  /// Pinned host memory: "staging.0" and so on. Weights that stay on the device are copied through
  /// it. It is then released if the other weights are pinned.
  TapePlan staging{TapeKind::scratch};
  std::vector<StreamedLayer> layers;
  /// Tensors that belong to no layer, in the order of their regions: embedding, last norm,
  /// classifier.
  std::vector<std::uint32_t> outer;
  std::uint64_t slots = 0;  ///< 0 if every layer stays.
  /// Bytes that one token's step copies: all parts of the layers that take turns, but only as many
  /// experts as a token uses. Gaps that are copied together with the parts are not counted.
  std::uint64_t token_bytes = 0;
  /// Bytes of the device's weights with one slot and no layer that stays. This is the estimate of
  /// realizar's StreamingConfig, but computed from the model's own tensors.
  std::uint64_t one_slot_bytes = 0;
  /// The smallest sufficient `device_bytes` for the requested slots. If few layers are streamed
  /// through many slots, some layers stay at this minimum.
  std::uint64_t least_bytes = 0;

  /// Bytes of one slot; 0 if every layer stays.
  [[nodiscard]] std::uint64_t slot_bytes() const noexcept;
  [[nodiscard]] std::uint64_t resident_layers() const noexcept;
};

/// Plans the weights of a model for layer streaming. A layer's parts keep their arrangement in the
/// file if that leaves each at a multiple of 16 bytes. They then form a run that is copied at once.
/// A run begins at a multiple of 256 and has gaps of at most 4 KiB.
///
/// A tensor belongs to the layer of its `PartId`. If a tensor holds every layer, each layer gets
/// its share. Tensors of other towers (vision, audio, draft) belong to no layer. Every expert of
/// the shape is a part of its own, even if one tensor holds all experts. Empty tensors are left
/// out. O(parts log parts).
/// @throws InvalidArgument if the model has no tensors or no layers; there are 0 slots, no staging
/// buffers, or buffers of 0 bytes; there are more than 65,536 slots or buffers; there are more
/// experts than any model has; or `device_bytes` cannot hold the slots and the tensors that belong
/// to no layer, in which case the message states both sizes.
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
