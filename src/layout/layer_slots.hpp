// SPDX-License-Identifier: Apache-2.0
/// @file
/// The slots of a `LayerStreamer`, and when each of them may be overwritten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "layout/layer_source.hpp"
#include "layout/layout_thread.hpp"
#include "os/own_process.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/layer_streamer.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The life of a slot is a cycle. A copy is put on the streamer's stream, where it waits for the
/// releases of the slot's former layer. `arrived` fires when the copy has run, and the stream of
/// each `acquire` waits for it. Each `release` records an event, and the next copy into the slot
/// waits for that.
///
/// If weights are pinned, copies are put on the stream at once. If they are staged, a thread does
/// this for one slot after the other, and a slot belongs to the thread until it is done.
class LayerStreamer::Slots {
 public:
  Slots(Device& device, StreamingPlan plan, std::byte* place, TensorDirectory directory,
        std::vector<std::span<const std::byte>> tensors, const LayerStreamerOptions& options);
  ~Slots();
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;

  [[nodiscard]] const StreamingPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] std::byte* place() const noexcept { return place_; }
  [[nodiscard]] const internal::LayerSource& source() const noexcept { return source_; }
  [[nodiscard]] LayerStreamerStat stat() const noexcept { return stat_; }

  // These implement the functions of `LayerStreamer`.
  bool prefetch(std::size_t layer, std::span<const std::uint32_t> experts);
  std::byte* acquire(std::size_t layer, StreamHandle stream,
                     std::span<const std::uint32_t> experts);
  void release(std::size_t layer, StreamHandle stream);

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  /// The last use of a slot by one stream.
  struct Release {
    StreamHandle stream;
    DeviceEvent event;
    bool pending;  ///< The next copy must wait for it.
  };
  struct Slot {
    explicit Slot(Device& device) : arrived(device) {}

    std::byte* at = nullptr;
    std::size_t layer = kNone;
    /// Whether parts are in the slot or on their way: first those that belong to no expert, then
    /// those of each expert.
    std::vector<bool> here{};
    std::size_t users = 0;   ///< Acquires that have not been released.
    bool awaited = false;    ///< Prefetched but not yet acquired.
    std::uint64_t used = 0;  ///< Time of the last use, in acquires and prefetches.
    DeviceEvent arrived;
    std::vector<Release> releases{};
    std::vector<internal::StreamedRun> runs{};  ///< Runs of the next copy.
    std::exception_ptr error{};                 ///< Thrown by the thread's last copy.
  };

  void require_layer(std::size_t layer, std::span<const std::uint32_t> experts) const;
  void finish_copies() noexcept;
  void bring_what_stays();
  [[nodiscard]] std::size_t index_of(const Slot& slot) const noexcept;
  [[nodiscard]] Slot* slot_of(std::size_t layer) noexcept;
  [[nodiscard]] Slot* slot_to_take(bool also_awaited);
  /// Returns the slot that has the layer, or takes one for it. nullptr if none is available.
  [[nodiscard]] Slot* slot_for(std::size_t layer, bool also_awaited);
  [[noreturn]] void throw_all_acquired(std::size_t layer) const;
  void forget_layer(Slot& slot) noexcept;
  void lose_layer(Slot& slot) noexcept;
  bool bring_layer(Slot& slot, std::size_t layer, std::span<const std::uint32_t> experts);
  [[nodiscard]] static bool is_there(const Slot& slot,
                                     std::span<const std::uint32_t> experts) noexcept;
  void list_missing(Slot& slot, const StreamedLayer& layer, std::span<const std::uint32_t> experts);
  void copy_runs(Slot& slot);
  void wait_until_staged(const Slot& slot);

  Device& device_;
  StreamingPlan plan_;
  std::byte* place_;
  TensorDirectory directory_;
  std::vector<std::span<const std::byte>> tensors_;
  internal::LayerSource source_;
  DeviceStream copies_;
  std::vector<Slot> slots_;
  std::uint64_t clock_ = 0;
  LayerStreamerStat stat_;
  // Last, because it uses the other members.
  std::unique_ptr<internal::LayoutThread, internal::os::DeleteInOwnProcess> thread_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
