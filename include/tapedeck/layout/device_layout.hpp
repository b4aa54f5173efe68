// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceLayout`: the three tapes of a model on one device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/frame_ring.hpp"
#include "tapedeck/layout/side.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The most scratch tapes that a `DeviceLayout` rotates through.
inline constexpr std::size_t kMostFrames = 64;

struct DeviceLayoutOptions {
  Commit commit = Commit::at_creation;
  std::uint64_t growth_step = 256;  ///< The fewest tokens that `prepare` commits in one step.
  /// Tokens of room that a thread of the layout maps in advance, so that `prepare` finds them
  /// mapped. 0 starts no thread. The thread also calls the hooks. It may be mapping while a graph
  /// is captured, so capture in thread-local mode or after `seal()`.
  std::uint64_t ahead = 0;
  /// Scratch tapes that `clear_pass(event)` rotates through, from 1 to `kMostFrames`. Use more than
  /// one if a copy or another stream still reads what the last pass wrote.
  std::size_t frames = 1;
  LayoutSizes extra{};             ///< Bytes for takes above the plan.
  std::size_t history_budget = 0;  ///< See `LayoutOptions::history_budget`.
  /// Zeroes what a talk held when it is cleared, rewound or destroyed (multi-tenant): on the talk's
  /// stream, so that its own work runs first (`DeviceTalk::set_stream`). `clear_talk` also zeroes
  /// scratch, in all frames, and waits for that. Each clear then calls the driver.
  bool wipe_on_clear = false;
  std::size_t page_bytes = 0;  ///< Page size of the pool, a power of two; 0: the granularity.
  DeviceBlockOptions block{};  ///< Hooks: NCCL and RDMA registration.
};

/// Weights, scratch and histories of one plan on one device, with the lifecycle of a `Layout`,
/// which usually owns it (`Layout::gpu`). Planned regions are below the floor of each tape. They
/// keep their addresses through every clear and through growth, so a CUDA graph captured over them
/// remains valid.
///
/// All talks grow from one pool of pages. A talk that grows first gets the pages of cleared talks,
/// and new pages are created only after that. Unless everything is committed at creation, each
/// region of a history begins on its own page, so `plan().history` has other offsets than the plan
/// passed to the constructor. A floor is a multiple of 256 bytes.
///
/// During a pass, no function of this class calls the driver. `clear_pass(event)`, `prepare`, and
/// the clear of a talk that wipes or has a stream do, but they belong between two passes.
///
/// Two features exist only on devices, because a device works asynchronously to the host:
/// - `frames`: when the host clears its own scratch, it has finished reading it. A stream or a copy
///   of a device may still be reading, so the next pass writes into another frame.
/// - `seal`: on the host, each pass gets its addresses and room from the layout. A captured graph
///   contains addresses, so growth and trimming must end before the capture.
///
/// Thread-safety: see `Layout`. No other call may run during `seal` or `decommit`. In a forked
/// child, only the destructor may be called, which does not wait for the thread of `ahead`.
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
/// DeviceTalk first = gpu.talk(0);
/// first.prepare(100);            // between passes: maps 128 KiB
/// assert(first.advance() == 0);  // the row of the first token, at keys.data()
/// first.clear();
/// gpu.talk(1).prepare(100);      // the second talk gets the pages of the first
/// assert(gpu.stat().pool_held == 128_KiB && keys.size() == 4_MiB);
/// @endcode
class DeviceLayout : public internal::Side<internal::DeviceMemory> {
 public:
  /// Creates all tapes, or throws and leaves nothing behind. The device must outlive the layout.
  /// @throws InvalidArgument if the plan's profile is not `native`, there are no talks or no
  /// frames, or a region needs a stricter alignment than the device's pages have; DeviceError;
  /// OutOfMemory beyond the budget; SystemError if the thread for `ahead` cannot be created.
  DeviceLayout(Device& device, Plan plan, DeviceLayoutOptions options = {});
  /// @pre No work on any stream still uses the memory.
  ~DeviceLayout();

  [[nodiscard]] Device& device() const noexcept { return memory_.device; }
  [[nodiscard]] FrameRing<DeviceTape>& frames() noexcept { return scratch_; }

  /// Clears the open frame of scratch. O(1), no driver call. Only later kernels on the same stream
  /// may overwrite what this pass wrote.
  void clear_pass() noexcept { scratch().clear(); }
  /// Closes the open frame with `done`, an event that fires when nothing reads the frame any more.
  /// Opens the next frame, and waits only if that frame's own event has not fired yet. @pre The
  /// event exists and is not recorded again until the frame is reused. @throws DeviceError of the
  /// event.
  void clear_pass(EventHandle done) { scratch_.rotate(done); }

  /// Clears the talk and the open frame of scratch. O(1), no driver call without `wipe_on_clear`.
  /// @throws InvalidArgument if there is no such talk; WrongState if it is closed; DeviceError of a
  /// wipe, and the talk is then unchanged.
  void clear_talk(std::size_t talk = 0);

  /// Stops all growth and shrinking of tapes and talks, including growth by the layout's thread.
  void seal() noexcept;

  /// Bytes reserved by all tapes.
  [[nodiscard]] std::size_t total() const noexcept { return total_of_tapes(); }
  /// Returns a snapshot of all metrics. Makes no driver call.
  [[nodiscard]] DeviceStat stat() const noexcept;

 private:
  friend class Layout;

  void clear_slot(std::size_t talk);
  void wipe_scratch(StreamHandle stream);
};

}  // namespace tapedeck::inline TAPEDECK_ABI
