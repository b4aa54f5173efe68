/// @file
/// `Side`: what a `Layout` on the host and a `DeviceLayout` have in common, and `LayoutSizes` and
/// `Commit`, which both are asked for. `DeviceLayout` says what it has of its own, and why.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/frame_ring.hpp"
#include "tapedeck/device/page_pool.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/layout/talk.hpp"
#include "tapedeck/layout/talk_error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Bytes of each tape.
struct LayoutSizes {
  std::size_t weights = 0;
  std::size_t scratch = 0;
  std::size_t history = 0;  ///< For each talk.
};

/// When the pages of a layout that was made from a plan are committed.
enum class Commit : std::uint8_t {
  at_creation,  ///< All of them; weights are warm.
  with_talks,   ///< Those of the histories by `prepare`, the others at creation.
  nothing,      ///< Only histories, by `prepare`: a dry run, or weights that come another way.
};

class Layout;

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

class LayoutThread;

/// Memory of the host, for `Side`.
struct HostMemory {
  using Tape = tapedeck::Tape;
  using Block = tapedeck::Block;
  using TapeOptions = tapedeck::TapeOptions;
  using Scratch = tapedeck::Tape;
  template <class T>
  using Span = std::span<T>;
  struct Where {};
  struct After {};  ///< The host's pages go when they are told to.
  /// The library writes there: it wipes, fills and poisons what is given back.
  static constexpr bool kWritable = true;

  explicit HostMemory(Where /*where*/) noexcept {}
  [[nodiscard]] static Tape& frame(Scratch& scratch) noexcept { return scratch; }
  static void each_frame(auto& scratch, auto frame_do) { frame_do(scratch); }

  [[nodiscard]] static std::size_t page_bytes() noexcept;
  /// The strictest alignment that a region may ask for.
  [[nodiscard]] static std::size_t widest_alignment() noexcept { return page_bytes(); }
  /// With all of it committed; weights are warm.
  [[nodiscard]] static Tape start(std::size_t bytes, const TapePlan& plan, TapeOptions options);
  [[nodiscard]] static Block reserve(std::size_t bytes, const BlockOptions& options) {
    return Block::reserve(bytes, options);
  }
  /// Whether pages can be had without taking them from other talks.
  [[nodiscard]] static bool has_pages(std::size_t /*bytes*/) noexcept { return true; }
  static void wait_for_readers() noexcept {}
  static void wait_for(After /*after*/) noexcept {}
  /// Bytes that really went back, where talks gave back so many.
  [[nodiscard]] static std::size_t release(std::size_t bytes) noexcept { return bytes; }
};

/// Memory of one device, for `Side`.
struct DeviceMemory {
  using Tape = DeviceTape;
  using Block = DeviceBlock;
  using TapeOptions = DeviceTapeOptions;
  using Scratch = FrameRing<DeviceTape>;
  template <class T>
  using Span = DeviceSpan<T>;
  struct Where {
    Device& device;
    std::size_t page_bytes;
  };
  using After = EventHandle;
  static constexpr bool kWritable = false;

  explicit DeviceMemory(const Where& where)
      : device(where.device), pool(device, where.page_bytes) {}
  [[nodiscard]] static Tape& frame(Scratch& scratch) noexcept { return scratch.current(); }
  static void each_frame(auto& scratch, auto frame_do) {
    for (std::size_t i = 0; i < scratch.size(); ++i) frame_do(scratch.frame(i));
  }

  [[nodiscard]] std::size_t page_bytes() const noexcept { return pool.page_bytes(); }
  [[nodiscard]] std::size_t widest_alignment() const { return device.info().granularity; }
  [[nodiscard]] Tape start(std::size_t bytes, const TapePlan& plan, TapeOptions options);
  [[nodiscard]] Block reserve(std::size_t bytes, const DeviceBlockOptions& options) {
    return Block::reserve(pool, bytes, options);
  }
  [[nodiscard]] bool has_pages(std::size_t bytes) const noexcept {
    return pool.free_bytes() >= bytes;
  }
  void wait_for_readers() { device.synchronize(); }
  void wait_for(After after) {
    if (after != nullptr) device.synchronize_event(after);
  }
  [[nodiscard]] std::size_t release(std::size_t /*bytes*/) noexcept { return pool.trim(); }

  Device& device;
  PagePool pool;
};

/// What both sides are asked for.
struct SideOptions {
  Commit commit = Commit::at_creation;
  std::uint64_t growth_step = 1;
  std::size_t history_budget = 0;  ///< 0: none.
  LayoutSizes extra{};
};

/// Weights, scratch and talks of one plan in one place.
template <class Memory>
class Side {
 public:
  using AnyTape = typename Memory::Tape;
  template <class T>
  using SpanOf = typename Memory::template Span<T>;

  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  [[nodiscard]] AnyTape& weights() noexcept { return weights_; }
  /// On a device: the frame that is open.
  [[nodiscard]] AnyTape& scratch() noexcept { return Memory::frame(scratch_); }
  /// @throws InvalidArgument where there is no such talk.
  [[nodiscard]] AnyTape& history(std::size_t talk = 0) {
    require_talk(talk);
    return histories_[talk];
  }

  /// Talks that addresses are reserved for, open or closed.
  [[nodiscard]] std::size_t talks() const noexcept { return histories_.size(); }
  /// The handle of an open talk; all talks are open at first.
  /// @throws InvalidArgument where there is no such talk; WrongState where it is closed.
  [[nodiscard]] BasicTalk<Memory> talk(std::size_t index);
  /// Opens the talk that was closed last: its pages are still there. From any thread.
  /// @throws WrongState where all are open.
  [[nodiscard]] BasicTalk<Memory> open_talk();
  /// The figures of one talk, open or closed. From any thread.
  /// @throws InvalidArgument where there is no such talk.
  [[nodiscard]] TalkStat talk_stat(std::size_t index) const;

  /// What it was made from; empty where that were sizes. On a device the histories have the offsets
  /// that this plan states, which may differ from those of the plan that was given.
  [[nodiscard]] const Plan& plan() const noexcept { return plan_; }

  /// Where a region of the weights lies. O(1); the address holds as long as the layout does. Loaded
  /// weights must not be written to.
  /// @throws InvalidArgument where the region is not one of `plan().weights` or of an equal plan,
  /// its elements are of another type than `T` (bytes always do), or loaded weights are not aligned
  /// for `T`.
  template <class T = std::byte>
  [[nodiscard]] SpanOf<T> weights_at(const Region& region) {
    const Region& own = planned_region<T>(plan_.weights, region);
    std::byte* const at = loaded_at_.empty() ? weights_.data() + own.offset : loaded_at_[own.index];
    return {region_elements<T>(own, at), own.bytes / sizeof(T)};
  }
  /// Where a region of scratch lies; on a device: in the frame that is open. O(1); the address
  /// holds as long as the layout does.
  /// @throws InvalidArgument where the region is not one of `plan().scratch` or of an equal plan,
  /// or its elements are of another type than `T`.
  template <class T = std::byte>
  [[nodiscard]] SpanOf<T> scratch_at(const Region& region) {
    return place<T>(scratch(), plan_.scratch, region);
  }
  /// Where a region of a talk lies. O(1); the address holds as long as the layout does. Of this,
  /// what the talk's tokens fill may be used.
  /// @throws InvalidArgument where there is no such talk, the region is not one of
  /// `plan().history` or of an equal plan, or its elements are of another type than `T`.
  template <class T = std::byte>
  [[nodiscard]] SpanOf<T> history_at(const Region& region, std::size_t talk = 0) {
    return place<T>(history(talk), plan_.history, region);
  }

  /// Gives back what talks have prepared beyond their tokens, to the system or to the device, whose
  /// free pages are released, too. On a device: once `after` has fired; nullptr: nothing uses it.
  /// Needs all talks quiet. Returns bytes.
  /// @throws WrongState of a sealed device; DeviceError of the event.
  std::size_t decommit(typename Memory::After after = {});

  /// Begins a new watch of how much histories use, as `Tape::restart_peak`, and returns the bytes
  /// that they used at most in the last one, summed up. For the writer of all talks.
  std::uint64_t restart_history_peaks() noexcept;

 protected:
  friend class BasicTalk<Memory>;
  friend class tapedeck::Layout;
  using Core = TalkCore<Memory>;

  Side(const typename Memory::Where& where, Plan plan, const SideOptions& options);
  ~Side();

  template <class T>
  [[nodiscard]] static SpanOf<T> place(AnyTape& tape, const TapePlan& plan, const Region& region) {
    const Region& own = planned_region<T>(plan, region);
    return {region_elements<T>(own, tape.data() + own.offset), own.bytes / sizeof(T)};
  }
  void require_talk(std::size_t talk) const {
    if (talk >= histories_.size()) [[unlikely]]
      throw_no_such_talk(talk);
  }
  [[noreturn]] void throw_no_such_talk(std::size_t talk) const;

  [[nodiscard]] AnyTape make_tape(const TapePlan& plan, typename Memory::TapeOptions options);
  void make_histories(const typename Memory::TapeOptions& options);

  void grow_talk(std::unique_lock<std::mutex>& growing, Core& talk, std::uint64_t tokens);
  void grow_ahead(Core& talk) noexcept;
  bool reclaim_from_idle(std::unique_lock<std::mutex>& growing, const Core& but);
  std::size_t give_back_room(Core& talk);
  [[nodiscard]] std::size_t budget_left() const noexcept {
    return options_.history_budget - std::min(charged_, options_.history_budget);
  }
  void require_budget(std::size_t bytes) const;
  void require_unsealed() const;
  template <class Figures>
  void fill_in(Figures& stat) const noexcept;
  [[nodiscard]] std::size_t total_of_tapes() const noexcept;

  Plan plan_;
  SideOptions options_;
  Memory memory_;
  std::vector<typename Memory::Block> reserved_;  // addresses of tapes not committed at once
  AnyTape weights_;
  std::vector<std::byte*> loaded_at_;  // of each planned tensor, where weights were loaded
  typename Memory::Scratch scratch_;
  std::vector<AnyTape> histories_;            // as many as talks, from creation on
  std::vector<std::unique_ptr<Core>> talks_;  // likewise
  std::vector<std::size_t> closed_;           // the last one is opened first
  std::mutex growing_;                        // held while pages or slots change hands
  std::size_t charged_ = 0;                   // bytes that talks have committed; under the lock
  bool sealed_ = false;                       // under the lock
  std::uint64_t ahead_ = 0;
  std::unique_ptr<LayoutThread> thread_;  // last: it ends first
};

extern template class Side<HostMemory>;
extern template class Side<DeviceMemory>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// One conversation on the host.
using Talk = BasicTalk<internal::HostMemory>;
/// One conversation on a device.
using DeviceTalk = BasicTalk<internal::DeviceMemory>;

extern template class BasicTalk<internal::HostMemory>;
extern template class BasicTalk<internal::DeviceMemory>;

}  // namespace tapedeck::inline TAPEDECK_ABI
