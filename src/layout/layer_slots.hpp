/// @file
/// The slots of a `LayerStreamer`, and who may write over which of them when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "layout/layer_source.hpp"
#include "layout/layout_thread.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/layer_streamer.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A slot goes round: a copy is put on the streamer's stream, behind the releases of what was in
/// it; `arrived` fires when it has run, and those who acquire the layer wait for that on their own
/// streams; each release is an event that the next copy into the slot waits for.
///
/// Pinned, copies are put on the stream at once. Staged, a thread does it, one slot after the
/// other: until that is done, the slot is the thread's.
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

  // As the functions of `LayerStreamer`.
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
    bool pending;  ///< The next copy has to wait for it.
  };
  struct Slot {
    explicit Slot(Device& device) : arrived(device) {}

    std::byte* at = nullptr;
    std::size_t layer = kNone;
    /// What is there, or on its way: first all that belongs to no expert, then each expert.
    std::vector<bool> here{};
    std::size_t users = 0;   ///< Acquired, and not released.
    bool awaited = false;    ///< Prefetched, and not acquired since.
    std::uint64_t used = 0;  ///< When, on a clock of acquires and prefetches.
    DeviceEvent arrived;
    std::vector<Release> releases{};
    std::vector<internal::StreamedRun> runs{};  ///< Of the copy that comes next.
    std::exception_ptr error{};                 ///< What the thread met.
  };

  void require_layer(std::size_t layer, std::span<const std::uint32_t> experts) const;
  void finish_copies() noexcept;
  void bring_what_stays();
  [[nodiscard]] std::size_t index_of(const Slot& slot) const noexcept;
  [[nodiscard]] Slot* slot_of(std::size_t layer) noexcept;
  [[nodiscard]] Slot* slot_to_take(bool also_awaited);
  /// The one that the layer has, or takes; nullptr where none is to be taken.
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
  std::optional<internal::LayoutThread> thread_;  // last: it uses the others, and ends before them
};

}  // namespace tapedeck::inline TAPEDECK_ABI
