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
  LayoutSizes extra{};             ///< Bytes for takes above what is planned.
  std::size_t history_budget = 0;  ///< As `LayoutOptions::history_budget`.
  std::size_t page_bytes = 0;      ///< Of the pool of pages, a power of two; 0: the granularity.
  DeviceBlockOptions block{};      ///< Hooks: NCCL and RDMA registration.
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
/// `clear_pass(event)` and `prepare`, which are what lies between two passes.
///
/// Three things exist on devices only, because a device goes on by itself with what the host has
/// given it:
/// - `frames`: when the host clears its own scratch, it has read it. A stream or a copy of a device
///   may read on, so the next pass writes into another frame.
/// - `ahead`: on the host a talk grows by a few system calls for each region, and pages come with
///   their first use. On a device every page is created, mapped and opened by calls of the driver,
///   each of which may wait for what runs there; a thread of the layout makes them while passes
///   run.
/// - `seal`: on the host each pass asks the layout for its addresses and room. A captured graph has
///   addresses in it and asks nobody, so that growth and trimming have to end before it is
///   captured.
///
/// Thread-safety: as `Layout`. `seal` and `decommit` need all quiet.
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
/// gpu.talk(1).prepare(100);      // the second talk gets the first one's pages
/// assert(gpu.stat().pool_held == 128_KiB && keys.size() == 4_MiB);
/// @endcode
class DeviceLayout : public internal::Side<internal::DeviceMemory> {
 public:
  /// Creates all tapes, or throws and leaves nothing behind. The device outlives the layout.
  /// @throws InvalidArgument for a plan of another profile than `native`, no talk, no frame, or a
  /// region that is stricter aligned than the device's pages; DeviceError; OutOfMemory beyond the
  /// budget; SystemError where there is no thread for `ahead`.
  DeviceLayout(Device& device, Plan plan, DeviceLayoutOptions options = {});
  /// @pre nothing that was put on a stream uses the memory.
  ~DeviceLayout();

  [[nodiscard]] Device& device() const noexcept { return memory_.device; }
  [[nodiscard]] FrameRing<DeviceTape>& frames() noexcept { return scratch_; }

  /// O(1), no call of the driver: what this pass wrote is written over by a later kernel of the
  /// same stream.
  void clear_pass() noexcept { scratch().clear(); }
  /// Closes the frame with `done`, which fires when nothing reads it any more, and opens the next
  /// one, waiting only if its own event has not fired. @pre the event lives, and is not recorded
  /// again, until the frame comes round. @throws DeviceError of the event.
  void clear_pass(EventHandle done) { scratch_.rotate(done); }

  /// Clears the talk, and the frame of scratch that is open. O(1), no call of the driver.
  /// @throws InvalidArgument where there is no such talk; WrongState where it is closed.
  void clear_talk(std::size_t talk = 0);

  /// From now on no tape and no talk grows or shrinks, by the layout's own thread neither.
  void seal() noexcept;

  /// Bytes reserved: the sum over all tapes.
  [[nodiscard]] std::size_t total() const noexcept { return total_of_tapes(); }
  /// All figures at once: no call of the driver.
  [[nodiscard]] DeviceStat stat() const noexcept;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
