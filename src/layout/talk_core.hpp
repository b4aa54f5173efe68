// SPDX-License-Identifier: Apache-2.0
/// @file
/// One talk's history: how its planned regions fill in parallel, and how much of them is committed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/on_failure.hpp"
#include "layout/talk_pages.hpp"
#include "layout/talk_readers.hpp"
#include "layout/talk_region.hpp"
#include "layout/talk_wiper.hpp"
#include "memory/tape_parts.hpp"
#include "memory/warm_pages.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/layout/side.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Thread-safety: for the talk's writer. Readers may call `stat` and `missing`, and read the
/// members of `TalkHead`. Another thread may commit and decommit, one thread at a time.
template <class Memory>
class TalkCore : public TalkHead {
 public:
  using Tape = typename Memory::Tape;

  struct Setup {
    const TalkRegions* regions = nullptr;  ///< nullptr: the talk does not count tokens.
    std::unique_ptr<TalkPages> pages{};    ///< nullptr: all pages are committed.
    std::uint64_t step = 1;                ///< Tokens that are committed in one step.
    bool wipe = false;                     ///< Whether to zero memory that is given back.
    Memory* memory = nullptr;              ///< Zeroes memory of a device.
  };

  /// The tape and `setup.regions` must outlive the talk.
  TalkCore(std::size_t number, Tape& tape, Setup setup)
      : TalkHead(number), tape_(tape), setup_(std::move(setup)) {
    if (!counts_tokens()) return;
    planned_ = tape.floor();
    capacity_ = regions().capacity();
    has_fixed_ = setup_.pages == nullptr;
    if (has_fixed_) note_prepared(capacity_);
  }

  // Another owner may get the addresses next, and from a device also the bytes.
  ~TalkCore() {
    if constexpr (kPoisons) {
      regions().unpoison(at(), 0, prepared.load(std::memory_order_relaxed));
    }
    if constexpr (!Memory::kWritable) {
      if (setup_.wipe) static_cast<void>(succeeds([this] { wipe_at_the_end(); }));
    }
  }
  TalkCore(const TalkCore&) = delete;
  TalkCore& operator=(const TalkCore&) = delete;

  [[nodiscard]] bool is_open() const noexcept {
    return generation.load(std::memory_order_relaxed) % 2 == 0;
  }
  /// False in a layout made from sizes.
  [[nodiscard]] bool counts_tokens() const noexcept { return setup_.regions != nullptr; }
  /// The most tokens ever held.
  [[nodiscard]] std::uint64_t most_ever() const noexcept {
    return std::max(most.load(std::memory_order_relaxed),
                    former_most_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] bool has_room(std::uint64_t more) const noexcept {
    return more <= prepared.load(std::memory_order_acquire) - held();
  }

  /// The tokens held after adding `more`. @throws what `throw_no_room` throws.
  [[nodiscard]] std::uint64_t after(std::uint64_t more) const {
    if (more > capacity_ - held()) throw_no_room(more);
    return held() + more;
  }

  [[noreturn]] void throw_no_room(std::uint64_t more) const {
    const std::uint64_t now = held();
    if (!counts_tokens()) {
      throw WrongState("layout", ObjectState::empty,
                       "a layout made from sizes does not count tokens", "make it from a plan");
    }
    const TalkNeeds needs = {.talk = index,
                             .tokens = more,
                             .held = now,
                             .room = prepared.load(std::memory_order_relaxed) - now,
                             .capacity = capacity_};
    if (more > capacity_ - now) throw TalkFull(needs);
    throw NotPrepared(needs);
  }
  void count_refusal() noexcept { increase(refused_, std::uint64_t{1}); }

  /// `wanted` rounded up to whole steps, but at most the capacity.
  [[nodiscard]] std::uint64_t in_steps(std::uint64_t wanted) const noexcept {
    const std::uint64_t steps = wanted / setup_.step + (wanted % setup_.step != 0 ? 1 : 0);
    return std::min(checked_mul(steps, setup_.step).value_or(capacity_), capacity_);
  }

  /// Bytes of pages still missing to hold the first `wanted` tokens.
  [[nodiscard]] std::size_t missing(std::uint64_t wanted) const noexcept {
    return setup_.pages == nullptr ? 0 : setup_.pages->missing(wanted);
  }
  /// Commits memory for the talk's first `wanted` tokens and for the regions that do not grow.
  /// Returns the number of bytes committed. On an error, nothing is changed.
  /// @pre `wanted` is at most the capacity.
  std::size_t grow_to(std::uint64_t wanted) {
    if (wanted <= prepared.load(std::memory_order_relaxed) && has_fixed_) return 0;
    const std::size_t before = pages();
    setup_.pages->grow_to(wanted);
    has_fixed_ = true;
    note_prepared(wanted);
    note_committed(wanted != 0);
    note_unmet();
    return pages() - before;
  }

  /// Decommits the memory beyond the tokens held. Returns the number of bytes decommitted.
  /// @pre No work on a device still uses that memory, except a wipe.
  std::size_t decommit() { return shrink_to(held()); }

  /// Decommits the memory beyond the first `room` tokens. Returns the number of bytes decommitted.
  /// @pre `room` is not less than the tokens held, and as for `decommit`.
  std::size_t shrink_to(std::uint64_t room) {
    if (setup_.pages == nullptr) return 0;
    wiper_.finish();
    const std::size_t bytes = setup_.pages->shrink_to(room);
    asked_.store(0, std::memory_order_relaxed);
    note_prepared(room);
    note_committed(false);
    return bytes;
  }

  /// Bytes of pages committed for the talk's regions.
  [[nodiscard]] std::size_t pages() const noexcept {
    return setup_.pages == nullptr ? 0 : setup_.pages->committed();
  }
  /// Notes that the rows from `first` on may be accessed.
  void note_rows(std::uint64_t first) noexcept {
    if constexpr (kPoisons) regions().unpoison(at(), first, held());
  }

  /// Keeps the first `kept` tokens and removes the others. @pre `kept` is at most the tokens held.
  /// @throws DeviceError of a wipe; the talk is then unchanged.
  void keep(std::uint64_t kept) noexcept(Memory::kWritable) {
    if constexpr (Memory::kWritable) {
      if (setup_.wipe || kFillOnGiveBack || checking::kListening) overwrite_rows(kept, held());
    } else if (setup_.wipe) {
      wipe_rows(kept);
    }
    tokens.store(kept, std::memory_order_relaxed);
  }

  /// @throws DeviceError of a wipe; the talk is then unchanged.
  void clear() noexcept(Memory::kWritable) {
    if constexpr (Memory::kWritable) {
      if (setup_.wipe) wipe_fixed();
    } else if (setup_.wipe) {
      wipe_all();
    }
    readers_.cleared(wiper_.stream());
    if (held() != 0) increase(conversations_, std::uint64_t{1});
    increase(cleared_tokens_, held());
    if constexpr (Memory::kWritable) keep(0);
    tokens.store(0, std::memory_order_relaxed);
    tape_.clear();
    asked_.store(0, std::memory_order_relaxed);
    cleared_.fetch_add(1, std::memory_order_release);
  }

  /// The stream of a device on which the talk's work and its wipes run. A pending wipe is awaited.
  void set_stream(StreamHandle stream) requires(!Memory::kWritable) {
    readers_.watch_stream();
    wiper_.set_stream(stream);
  }
  /// Waits until nothing reads the pages of a talk that was cleared.
  void wait_for_readers() { readers_.wait(); }
  [[nodiscard]] StreamHandle stream() const noexcept { return wiper_.stream(); }

  /// Tokens held when the talk was cleared, added up over all clears.
  [[nodiscard]] std::uint64_t cleared_tokens() const noexcept {
    return cleared_tokens_.load(std::memory_order_relaxed);
  }

  /// How often the talk was cleared while it held tokens.
  [[nodiscard]] std::uint64_t conversations() const noexcept {
    return conversations_.load(std::memory_order_relaxed);
  }

  /// How often the talk was cleared if other talks may take its pages, otherwise 0.
  [[nodiscard]] std::uint64_t for_others() const noexcept {
    const std::uint64_t cleared = cleared_.load(std::memory_order_acquire);
    const bool claimed = cleared == claimed_.load(std::memory_order_relaxed);
    return claimed || held() != 0 ? 0 : cleared;
  }
  /// Keeps the pages of a talk that is used again from other talks. @pre The layout's lock is held.
  void claim() noexcept {
    claimed_.store(cleared_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  /// Requests room for `ahead` further tokens. Returns false if there is enough room, or if it has
  /// already been requested.
  [[nodiscard]] bool asks_for(std::uint64_t ahead) noexcept {
    const auto sum = checked_add(held(), ahead);
    const std::uint64_t wanted = in_steps(std::min(sum.value_or(capacity_), capacity_));
    if (wanted <= prepared.load(std::memory_order_acquire) || wanted <= asked()) return false;
    asked_.store(wanted, std::memory_order_relaxed);
    return true;
  }
  /// The total tokens that room was requested for, or 0 without a request.
  [[nodiscard]] std::uint64_t asked() const noexcept {
    return asked_.load(std::memory_order_relaxed);
  }

  /// Warms one region after the other and stops at the first that is not completed. Checks the
  /// budget for all regions first, so that a talk that cannot fit does not fill the host's memory.
  [[nodiscard]] WarmResult warm(const WarmOptions& options) requires(Memory::kWritable) {
    if (const auto budget = beyond_budget(pages())) {
      return {.end = WarmEnd::over_budget,
              .asked = pages(),
              .available = budget->available,
              .limit = budget->limit};
    }
    WarmResult sum = tape_.warm(options);
    if (sum && setup_.pages != nullptr) add_result(sum, setup_.pages->warm(options));
    note_unmet();
    return sum;
  }

  [[nodiscard]] TalkStat stat() const noexcept {
    const std::uint64_t now = held();
    TalkStat stat = {.tokens = now,
                     .room = std::max(prepared.load(std::memory_order_acquire), now) - now,
                     .capacity = capacity_,
                     .open = is_open(),
                     .history = tape_.stat()};
    stat.history.used += regions().filled(now) - planned_;
    // `advance` stores the tokens first and `most` after them, and may be between the two.
    stat.history.peak += regions().filled(std::max(most_ever(), now)) - planned_;
    stat.history.refused += refused_.load(std::memory_order_relaxed);
    return stat;
  }

  /// See `Side::restart_history_peaks`.
  std::uint64_t restart_peak() noexcept {
    const std::uint64_t bytes =
        tape_.recent_peak() - planned_ + regions().filled(most.load(std::memory_order_relaxed));
    tape_.restart_peak();
    former_most_.store(most_ever(), std::memory_order_relaxed);
    most.store(held(), std::memory_order_relaxed);
    return bytes;
  }

 private:
  static constexpr bool kPoisons = Memory::kWritable && checking::kListening;

  [[nodiscard]] const TalkRegions& regions() const noexcept {
    static const TalkRegions none;
    return counts_tokens() ? *setup_.regions : none;
  }
  [[nodiscard]] std::uintptr_t at() const noexcept { return address_of(tape_.data()); }

  [[nodiscard]] std::uint64_t held() const noexcept {
    return tokens.load(std::memory_order_relaxed);
  }

  // Release order: a thread that sees the room also sees the committed memory.
  // Rows that are prepared are poisoned until a token fills them.
  void note_prepared(std::uint64_t room) noexcept {
    if constexpr (kPoisons) {
      const std::uint64_t before = prepared.load(std::memory_order_relaxed);
      if (room > before) regions().poison(at(), before, room);
      if (room < before) regions().unpoison(at(), room, before);
    }
    prepared.store(room, std::memory_order_release);
  }
  void note_committed(bool grew) noexcept {
    if (tape_.total() != 0) tape_.note_planned(setup_.pages->committed_in_regions(), grew);
  }
  void note_unmet() noexcept {
    if constexpr (Memory::kWritable) {
      if (setup_.pages == nullptr) return;
      WishErrors errors{};
      setup_.pages->note_unmet(errors);
      tape_.note_unmet(errors);
    }
  }

  void overwrite_rows(std::uint64_t first, std::uint64_t end) noexcept {
    regions().each_row_range(at(), first, end, [this](std::uintptr_t from, std::uintptr_t to) {
      if (setup_.wipe || kFillOnGiveBack) overwrite(from, to, setup_.wipe ? 0 : kGivenBack);
      checking::poison(from, to - from);
    });
  }
  void wipe_fixed() noexcept(Memory::kWritable) {
    if (!has_fixed_) return;
    for (const TalkRegion& region : regions()) {
      if (!region.grows()) wiper_.zero(at() + region.offset, region.bytes);
    }
  }

  // On a device, the wipe runs later, behind the talk's own work.
  void wipe_rows(std::uint64_t first) {
    regions().each_row_range(at(), first, held(), [this](std::uintptr_t from, std::uintptr_t to) {
      wiper_.zero(from, to - from);
    });
  }
  void wipe_all() {
    wipe_rows(0);
    wipe_fixed();
    wiper_.zero(address_of(tape_.data()) + tape_.floor(), tape_.used() - tape_.floor());
  }
  void wipe_at_the_end() {
    wiper_.leave_stream();
    wipe_all();
    wiper_.finish();
  }

  Tape& tape_;
  Setup setup_;
  TalkWiper<Memory> wiper_{setup_.memory};
  TalkReaders<Memory> readers_{setup_.memory};
  std::uint64_t planned_ = 0;  // bytes below the floor
  std::uint64_t capacity_ = 0;
  bool has_fixed_ = false;                     // whether regions that do not grow are committed
  std::atomic<std::uint64_t> former_most_{0};  // before the last restart_peak()
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> cleared_tokens_{0};
  std::atomic<std::uint64_t> conversations_{0};
  std::atomic<std::uint64_t> asked_{0};    // tokens requested from the layout's thread
  std::atomic<std::uint64_t> cleared_{0};  // number of clears
  std::atomic<std::uint64_t> claimed_{0};  // `cleared_` at the last `claim`
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
