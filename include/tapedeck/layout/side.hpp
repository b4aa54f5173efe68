// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Side`: the common base of `Layout` and `DeviceLayout`, and the options `LayoutSizes` and
/// `Commit`. `DeviceLayout` documents what only devices have, and why.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
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

/// Bytes of each tape. A layout made from sizes needs at least 1 byte for each of them, because a 0
/// is most likely a size that was forgotten. In a layout made from a plan, a tape without regions
/// and without extra bytes has no memory, because the model needs none.
struct LayoutSizes {
  std::size_t weights = 0;
  std::size_t scratch = 0;
  std::size_t history = 0;  ///< For each talk.
};

/// When a layout made from a plan commits its pages.
///
/// On the host, the histories that grow in `prepare` share one mapping of which no page exists yet.
/// A growth claims its pages from the limits of memory and makes no system call, except one that
/// requests huge pages when a region has claimed all of one, and reading the limits again when they
/// may have changed. Some options, and some hosts, need the pages committed region by region
/// instead, with system calls for each: `lock`, `guard_pages`, hooks, explicit huge pages,
/// `extra.history`, `LayoutOptions::guard_unprepared`, AddressSanitizer, and processes that called
/// mlockall. Where the host refuses the mapping (vm.overcommit_memory = 2, RLIMIT_DATA, RLIMIT_AS),
/// `Wish::growth` is unmet. Do not call mlockall(MCL_CURRENT) later, except with MCL_ONFAULT: it
/// would make the whole mapping resident.
enum class Commit : std::uint8_t {
  at_creation,  ///< All pages at creation. On the host, weights are also made resident.
  with_talks,   ///< Pages of histories in `prepare`, all others at creation.
  nothing,      ///< Only histories, in `prepare`: for a dry run or for weights that are elsewhere.
};

/// What became of a new limit of the histories' memory.
enum class LimitChange : std::uint8_t {
  applied,   ///< The talks have no more than that.
  deferred,  ///< The talks have more, so none of them grows until enough of it is given back.
  stale,     ///< A later revision has been set already; nothing has changed.
};

class Layout;

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

class HistoryMapping;
class LayoutThread;
class TalkPages;
class TalkRegions;

/// Memory of the host, for `Side`.
struct HostMemory {
  using Tape = tapedeck::Tape;
  using Block = tapedeck::Block;
  using TapeOptions = tapedeck::TapeOptions;
  using Scratch = tapedeck::Tape;
  template <class T>
  using Span = std::span<T>;
  struct Where {};
  struct After {};  ///< Empty, because pages of the host can be decommitted at any time.
  /// Whether the library can write to this memory, to wipe, fill and poison what is given back.
  static constexpr bool kWritable = true;
  static constexpr const char* kLayoutOptions = "LayoutOptions";  ///< For messages.

  explicit HostMemory(Where /*where*/) noexcept {}
  [[nodiscard]] static Tape& frame(Scratch& scratch) noexcept { return scratch; }
  static void each_frame(auto& scratch, auto frame_do) { frame_do(scratch); }

  [[nodiscard]] static std::size_t page_bytes() noexcept;
  /// The strictest alignment that a region may have.
  [[nodiscard]] static std::size_t widest_alignment() noexcept { return page_bytes(); }
  /// Creates a tape with all bytes committed. A weights tape is also warm.
  [[nodiscard]] static Tape start(std::size_t bytes, const TapePlan& plan, TapeOptions options);
  [[nodiscard]] static Block reserve(std::size_t bytes, const BlockOptions& options) {
    return Block::reserve(bytes, options);
  }
  /// Whether that many bytes of pages are available without taking them from other talks.
  [[nodiscard]] static bool has_pages(std::size_t /*bytes*/) noexcept { return true; }
  /// The most bytes of `wanted` that the limits of memory have room for.
  [[nodiscard]] static std::size_t most_new_pages(std::size_t wanted);
  static void wait_for(After /*after*/) noexcept {}
  /// Releases the bytes that talks have decommitted, as the host has already done. Returns the
  /// number of bytes released.
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
  static constexpr const char* kLayoutOptions = "DeviceLayoutOptions";

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
  [[nodiscard]] std::size_t most_new_pages(std::size_t /*wanted*/) const {
    return pool.free_bytes() + device.memory().free / pool.page_bytes() * pool.page_bytes();
  }
  void wait_for_readers() { device.synchronize(); }
  void wait_for(After after) {
    if (after != nullptr) device.synchronize_event(after);
  }
  void zero(std::byte* at, std::size_t bytes, StreamHandle stream) {
    device.fill(at, std::byte{0}, bytes, stream);
  }
  void wait_for(StreamHandle stream) { device.synchronize(stream); }
  [[nodiscard]] std::size_t release(std::size_t /*bytes*/) noexcept { return pool.trim(); }

  Device& device;
  PagePool pool;
};

/// The options that `LayoutOptions` and `DeviceLayoutOptions` have in common.
struct SideOptions {
  Commit commit = Commit::at_creation;
  std::uint64_t growth_step = 1;
  std::size_t history_budget = 0;  ///< 0: no limit.
  LayoutSizes extra{};
  bool wipe = false;              ///< Whether talks zero what they give back.
  bool guard_unprepared = false;  ///< See `LayoutOptions`.
  bool resident_growth = false;   ///< See `LayoutOptions`.
  bool overcommit = false;        ///< `BlockOptions::overcommit` of the histories.
  std::uint64_t ahead = 0;        ///< Tokens of room that the layout's thread prepares.
};

/// Weights, scratch and talks of one plan in one place, the host or a device.
template <class Memory>
class Side {
 public:
  using AnyTape = typename Memory::Tape;
  template <class T>
  using SpanOf = typename Memory::template Span<T>;

  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  [[nodiscard]] AnyTape& weights() noexcept { return weights_; }
  /// Returns the scratch tape; on a device, that of the open frame.
  [[nodiscard]] AnyTape& scratch() noexcept { return Memory::frame(scratch_); }
  /// @throws InvalidArgument if the layout has no such talk.
  [[nodiscard]] AnyTape& history(std::size_t talk = 0) {
    require_talk(talk);
    return histories_[talk];
  }

  /// Number of talks that addresses are reserved for, open or closed.
  [[nodiscard]] std::size_t talks() const noexcept { return histories_.size(); }
  /// Returns the handle of an open talk. When a layout is created, all of its talks are open.
  /// @throws InvalidArgument if the layout has no such talk; WrongState if the talk is closed.
  [[nodiscard]] BasicTalk<Memory> talk(std::size_t index);
  /// Opens the talk that was closed last, because it may still have its pages. May be called from
  /// any thread.
  /// @throws WrongState if all talks are open.
  [[nodiscard]] BasicTalk<Memory> open_talk();
  /// Returns the metrics of one talk, open or closed. May be called from any thread.
  /// @throws InvalidArgument if the layout has no such talk.
  [[nodiscard]] TalkStat talk_stat(std::size_t index) const;

  /// The plan that the layout was made from, or an empty plan if it was made from sizes. On a
  /// device, this plan has the actual offsets of history regions, which may differ from those in
  /// the plan passed to the constructor.
  [[nodiscard]] const Plan& plan() const noexcept { return plan_; }

  /// Returns the elements of a weights region, to be read. O(1). Valid for the lifetime of the
  /// layout. Use this form, or `weights_at<const float>(region)`, for all weights that are not
  /// being filled in.
  /// @throws InvalidArgument if the region is neither in `plan().weights` nor in that of an equal
  /// plan, if its element type does not match `T` (bytes match every type), or if loaded weights
  /// are not aligned for `T`.
  template <class T = std::byte>
  [[nodiscard]] SpanOf<const T> weights_at(const Region& region) const {
    const Region& own = planned_region<T>(plan_.weights, region);
    std::byte* const at = loaded_at_.empty() ? weights_.data() + own.offset : loaded_at_[own.index];
    return {region_elements<const T>(own, at), own.bytes / sizeof(T)};
  }
  /// Returns the elements of a weights region of a layout that is not const, to be filled in.
  /// Loaded weights, such as those of `Layout::open`, must not be written to: they may be a
  /// read-only mapping, where a write is a fatal signal. Request `const T` to read them.
  /// @throws the errors of the form that reads.
  template <class T = std::byte>
  [[nodiscard]] SpanOf<T> weights_at(const Region& region) {
    const SpanOf<const T> elements = std::as_const(*this).template weights_at<T>(region);
    return {const_cast<T*>(elements.data()), elements.size()};
  }
  /// Returns the elements of a scratch region; on a device, of the open frame. O(1). Valid for the
  /// lifetime of the layout.
  /// @throws InvalidArgument if the region is neither in `plan().scratch` nor in that of an equal
  /// plan, or if its element type does not match `T` (bytes match every type).
  template <class T = std::byte>
  [[nodiscard]] SpanOf<T> scratch_at(const Region& region) {
    return place<T>(scratch(), plan_.scratch, region);
  }
  /// Returns the elements of a region of a talk's history. O(1). Valid for the lifetime of the
  /// layout, but only the bytes that the talk's tokens fill may be accessed.
  /// @throws InvalidArgument if the layout has no such talk, if the region is neither in
  /// `plan().history` nor in that of an equal plan, or if its element type does not match `T`
  /// (bytes match every type).
  template <class T = std::byte>
  [[nodiscard]] SpanOf<T> history_at(const Region& region, std::size_t talk = 0) {
    return place<T>(history(talk), plan_.history, region);
  }

  /// Prepares every talk of a batch, or none, as `BasicTalk::prepare` does for one. If a talk is
  /// listed twice, the larger number of tokens counts. Pages that were taken from cleared and
  /// closed talks are not given back if the batch is refused. O(talks of the batch), plus the cost
  /// of the growths.
  /// @pre No other thread uses the talks of the batch during the call.
  /// @throws InvalidArgument for a talk of another layout; what `BasicTalk::prepare` throws.
  void prepare(std::span<const BasicTalkTokens<Memory>> batch);

  /// How many talks of `tokens` tokens could begin now: at most as many as are closed, or open and
  /// without tokens, and only as far as the history budget and the memory of the host or the device
  /// have room for their pages, those of cleared and closed talks included. The talks that need the
  /// fewest new pages are expected to begin first. Changes nothing.
  /// O(talks · regions), with system calls or driver calls.
  /// @throws InvalidArgument beyond the tokens that the plan has for a talk; WrongState if the
  /// layout has no plan.
  [[nodiscard]] std::size_t room(std::uint64_t tokens);

  /// Sets `history_budget` anew while the engine runs; 0 removes it. If the talks have more, the
  /// pages of cleared and closed talks are given back first.
  /// @param revision  of this limit, from a control plane that may deliver limits out of order. A
  /// revision that is not greater than the last one is stale. The first one must be at least 1.
  LimitChange limit_histories(std::size_t bytes, std::uint64_t revision);

  /// Releases the pages that `prepare` committed beyond the talks' tokens, to the system or to the
  /// device. On a device, also releases the free pages of the pool, and waits until `after` has
  /// fired; pass nullptr if nothing uses the pages. Returns the number of bytes released.
  /// @pre No other thread uses any of the talks during the call.
  /// @throws WrongState if the device is sealed; DeviceError of the event.
  std::size_t decommit(typename Memory::After after = {});

  /// Starts measuring the peaks of all histories anew; see `Tape::restart_peak`. Returns the sum of
  /// their peaks since the last restart, in bytes. Must be called by the writer of all talks.
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

  void require_alignment(const TapePlan& plan, const std::string& tape) const;
  [[nodiscard]] AnyTape make_tape(const TapePlan& plan, typename Memory::TapeOptions options);
  void make_histories(const typename Memory::TapeOptions& options);
  void map_histories(const typename Memory::TapeOptions& options);
  [[nodiscard]] std::unique_ptr<TalkPages> make_history(
      const typename Memory::TapeOptions& options);

  /// Gives the talk room for `tokens`. Returns 0, or the bytes that it needs beyond the budget.
  [[nodiscard]] std::size_t grow_talk(std::unique_lock<std::mutex>& growing, Core& talk,
                                      std::uint64_t tokens);
  /// Starts the thread of `SideOptions::ahead`. The last step of a constructor.
  void start_growing_ahead();
  void grow_ahead(Core& talk) noexcept;
  void prepare_one(std::unique_lock<std::mutex>& growing, Core& talk, std::uint64_t tokens);
  void ask_ahead(Core& talk);

  /// Bytes of pages of a talk without tokens that may begin or give its pages away.
  struct IdleTalk {
    std::size_t needs = 0;  ///< If it begins.
    std::size_t gives = 0;  ///< If it does not.
  };
  [[nodiscard]] static std::size_t most_talks(std::span<const IdleTalk> idle,
                                              std::size_t available);
  /// Gives back the pages of one cleared or closed talk, but not those of `but`. Returns false if
  /// there are none.
  bool reclaim_from_idle(std::unique_lock<std::mutex>& growing, const Core* but);
  std::size_t give_back_room(Core& talk);
  [[nodiscard]] std::size_t budget_left() const noexcept {
    const std::size_t budget = history_budget_.load(std::memory_order_relaxed);
    return budget - std::min(charged_, budget);
  }
  [[noreturn]] void throw_over_budget(const std::string& purpose, std::size_t bytes,
                                      const std::string& instead) const;
  void require_unsealed() const;
  template <class Figures>
  void fill_in(Figures& stat) const noexcept;
  [[nodiscard]] std::size_t total_of_tapes() const noexcept;

  Plan plan_;
  SideOptions options_;
  Memory memory_;
  std::vector<typename Memory::Block> reserved_;  // addresses of tapes not committed at once
  AnyTape weights_;
  std::vector<std::byte*> loaded_at_;  // of each planned tensor; empty without loaded weights
  typename Memory::Scratch scratch_;
  std::unique_ptr<TalkRegions> regions_;             // of each talk's history; null without a plan
  std::unique_ptr<HistoryMapping> history_mapping_;  // of all talks, if there is one
  int growth_refusal_ = 0;                           // errno, if the host refused it
  std::vector<AnyTape> histories_;              // one for each talk; never resized after creation
  std::vector<std::unique_ptr<Core>> talks_;    // one for each talk; never resized after creation
  std::vector<std::size_t> closed_;             // a stack: the last one is opened first
  std::mutex growing_;                          // held while pages or slots change hands
  std::atomic<std::size_t> history_budget_{0};  // written under the lock
  std::uint64_t budget_revision_ = 0;           // under the lock
  std::size_t charged_ = 0;                     // bytes that talks have committed; under the lock
  std::atomic<std::uint64_t> budget_refusals_{0};  // written under the lock
  bool sealed_ = false;                            // under the lock
  std::unique_ptr<LayoutThread> thread_;           // the last member, because it must end first
};

extern template class Side<HostMemory>;
extern template class Side<DeviceMemory>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// One conversation on the host.
using Talk = BasicTalk<internal::HostMemory>;
/// One conversation on a device.
using DeviceTalk = BasicTalk<internal::DeviceMemory>;
/// What `Layout::prepare` prepares for one talk of a batch.
using TalkTokens = BasicTalkTokens<internal::HostMemory>;
/// What `DeviceLayout::prepare` prepares for one talk of a batch.
using DeviceTalkTokens = BasicTalkTokens<internal::DeviceMemory>;

extern template class BasicTalk<internal::HostMemory>;
extern template class BasicTalk<internal::DeviceMemory>;

}  // namespace tapedeck::inline TAPEDECK_ABI
