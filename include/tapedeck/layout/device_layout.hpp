/// @file
/// `DeviceLayout`: the three tapes of a model on one device.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/frame_ring.hpp"
#include "tapedeck/device/page_pool.hpp"
#include "tapedeck/layout/layout_sizes.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::internal {
class GrowthThread;
}

namespace tapedeck {
TAPEDECK_ABI_BEGIN

struct DeviceLayoutOptions {
  Commit commit = Commit::at_creation;
  std::uint64_t growth_step = 256;  ///< Tokens that `prepare` commits at least, at a time.
  /// Tokens of room that a thread of the layout maps in advance of what is prepared, so that
  /// `prepare` finds them there; 0: no thread. Hooks are then called on it, too. While a graph is
  /// captured it may be mapping: capture in the thread-local mode, or after `seal()`.
  std::uint64_t ahead = 0;
  /// Scratch tapes that `clear_pass(event)` goes round through, 1 at least: more than one where a
  /// copy or another stream still reads what the last pass wrote.
  std::size_t frames = 1;
  LayoutSizes extra{};         ///< Bytes for takes above what is planned.
  std::size_t page_bytes = 0;  ///< Of the pool of pages; 0: the granularity.
  DeviceBlockOptions block{};  ///< Hooks: NCCL and RDMA registration.
};

/// Weights, scratch and histories of one plan on one device, with the lifecycle of a `Layout`,
/// which usually owns it (`Layout::gpu`). Planned regions lie below the floor of each tape and keep
/// their addresses through every clear, and through growth: a CUDA graph captured over them stays
/// valid.
///
/// All talks grow from one pool of pages: what a cleared talk has is first given to a talk that
/// grows, and only then are pages created. Unless all is committed at creation, each region of a
/// history begins with a page of its own, so `plan().history` has other offsets than the plan it
/// was made from. A floor is in whole lines of 256 bytes.
///
/// Between the start and the end of a pass no function here calls the driver, but
/// `clear_pass(event)` and `prepare`, which are what lies between two passes. With
/// `DeviceLayoutOptions::ahead`, a thread of the layout maps what `prepare` will ask for while
/// passes run.
///
/// Thread-safety: as `Layout`; talks may have a writer each. `seal` and `trim` need all quiet.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Plan plan;
/// plan.talks = 2;
/// plan.history.append({.name = "layers.0.k", .role = RegionRole::kv, .bytes = 4_MiB,
///                      .alignment = 4096, .growth = {.bytes_per_token = 1024, .capacity = 4096}});
/// HostDevice device;
/// DeviceLayout gpu(device, plan, {.commit = Commit::with_talks, .growth_step = 64});
/// const DeviceSpan<std::byte> keys = gpu.history_at(gpu.plan().history.regions()[0]);
/// gpu.prepare(0, 100);           // between passes: maps 128 KiB
/// assert(gpu.advance(0) == 0);   // the row of the first token, at keys.data()
/// gpu.clear_talk(0);
/// gpu.prepare(1, 100);           // the second talk gets the first one's pages
/// assert(gpu.stat().pool_held == 128_KiB && keys.size() == 4_MiB);
/// @endcode
class DeviceLayout {
 public:
  /// Creates all tapes, or throws and leaves nothing behind. The device outlives the layout.
  /// @throws InvalidArgument for a plan of another profile than `native`, no talk, no frame, or a
  /// region that is stricter aligned than the device's pages; DeviceError; SystemError where there
  /// is no thread for `ahead`.
  DeviceLayout(Device& device, Plan plan, DeviceLayoutOptions options = {});
  /// @pre nothing that was put on a stream uses the memory.
  ~DeviceLayout();
  DeviceLayout(const DeviceLayout&) = delete;
  DeviceLayout& operator=(const DeviceLayout&) = delete;

  [[nodiscard]] Device& device() const noexcept { return device_; }
  [[nodiscard]] DeviceTape& weights() noexcept { return weights_; }
  /// The frame that is open.
  [[nodiscard]] DeviceTape& scratch() noexcept { return scratch_.current(); }
  [[nodiscard]] FrameRing<DeviceTape>& frames() noexcept { return scratch_; }
  /// @pre talk < talks()
  [[nodiscard]] DeviceTape& history(std::size_t talk = 0) noexcept {
    assert(talk < histories_.size());
    return histories_[talk];
  }
  [[nodiscard]] std::size_t talks() const noexcept { return histories_.size(); }

  /// What it was made from, with the offsets that its histories really have.
  [[nodiscard]] const Plan& plan() const noexcept { return plan_; }

  // Where a region lies: O(1), and the address holds as long as the layout does. Each throws
  // InvalidArgument where the region is not one of that tape's plan in `plan()`, or of an equal
  // plan, or its elements are of another type than `T` (bytes always do).
  template <class T = std::byte>
  [[nodiscard]] DeviceSpan<T> weights_at(const Region& region) {
    return place<T>(weights_, plan_.weights, region);
  }
  /// In the frame that is open.
  template <class T = std::byte>
  [[nodiscard]] DeviceSpan<T> scratch_at(const Region& region) {
    return place<T>(scratch(), plan_.scratch, region);
  }
  template <class T = std::byte>
  [[nodiscard]] DeviceSpan<T> history_at(const Region& region, std::size_t talk = 0) {
    return place<T>(history(talk), plan_.history, region);
  }

  // As the functions of `Layout`.

  /// Maps what the next `tokens` of a talk need. Where they have room O(1), and no call of the
  /// driver. Else pages of cleared talks are used first, after the device has finished with them.
  /// The layout's own thread, where there is one, is asked for what comes next; what it cannot get
  /// is told by the `prepare` that needs it.
  /// @throws TapeFull beyond what is planned; InvalidArgument if it is sealed; DeviceError, and the
  /// talk is as it was.
  void prepare(std::size_t talk, std::uint64_t tokens);
  /// @throws TapeFull where no room is prepared.
  std::uint64_t advance(std::size_t talk, std::uint64_t tokens = 1);
  void rewind(std::size_t talk, std::uint64_t tokens) noexcept;
  [[nodiscard]] std::uint64_t tokens(std::size_t talk = 0) const noexcept;

  /// O(1), no call of the driver: what this pass wrote is written over by a later kernel of the
  /// same stream.
  void clear_pass() noexcept { scratch().clear(); }
  /// Closes the frame with `done`, which fires when nothing reads it any more, and opens the next
  /// one, waiting only if its own event has not fired. @pre the event lives, and is not recorded
  /// again, until the frame comes round. @throws DeviceError of the event.
  void clear_pass(EventHandle done) { scratch_.rotate(done); }

  /// O(1), no call of the driver. Its pages stay, until another talk needs them: prepare the talk
  /// again before it goes on.
  void clear_talk(std::size_t talk = 0) noexcept;

  /// From now on no tape and no talk grows or shrinks, by the layout's own thread neither.
  void seal() noexcept;

  /// Unmaps what talks have prepared beyond their tokens, once `after` has fired (nullptr: nothing
  /// uses it), and releases all pages that are free. Returns the bytes that went back to the
  /// device.
  /// @throws InvalidArgument if it is sealed; DeviceError of the event.
  std::size_t trim(EventHandle after);

  /// Bytes reserved: the sum over all tapes.
  [[nodiscard]] std::size_t total() const noexcept;
  /// All figures at once: no call of the driver.
  [[nodiscard]] DeviceStat stat() const noexcept;

 private:
  class Talk;

  template <class T>
  [[nodiscard]] static DeviceSpan<T> place(DeviceTape& tape, const TapePlan& plan,
                                           const Region& region) {
    const Region& own = internal::planned_region<T>(plan, region);
    return {internal::region_elements<T>(own, tape.data() + own.offset), own.bytes / sizeof(T)};
  }
  [[nodiscard]] DeviceTape make_tape(const TapePlan& plan, std::size_t extra, const char* name);
  [[nodiscard]] DeviceTape reserve_tape(const TapePlan& plan, std::size_t extra, const char* name);
  void require_alignment(const TapePlan& plan, const char* name) const;
  void make_histories();
  void grow(std::unique_lock<std::mutex>& growing, std::size_t talk, std::uint64_t tokens);
  void grow_ahead(std::size_t talk, std::uint64_t tokens) noexcept;
  void ask_ahead(std::size_t talk) noexcept;
  bool reclaim_from_cleared(std::unique_lock<std::mutex>& growing, std::size_t but);
  void refuse_if_sealed(const char* what) const;

  Device& device_;
  Plan plan_;
  DeviceLayoutOptions options_;
  PagePool pool_;
  std::vector<DeviceBlock> reserved_;  // addresses of tapes that are not committed at once
  DeviceTape weights_;
  FrameRing<DeviceTape> scratch_;
  std::vector<DeviceTape> histories_;               // as many as talks, from creation on
  std::vector<std::unique_ptr<Talk>> talks_;        // likewise
  std::mutex growing_;                              // held by whoever maps or unmaps pages of talks
  bool sealed_ = false;                             // under the lock
  std::unique_ptr<internal::GrowthThread> thread_;  // last: it ends first
};

TAPEDECK_ABI_END
}  // namespace tapedeck
