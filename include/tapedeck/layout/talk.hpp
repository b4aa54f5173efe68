// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Talk`: the handle of one conversation of a layout.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/warm.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

template <class Memory>
class Side;
template <class Memory>
class TalkCore;

/// What the writer of a talk publishes to readers.
struct TalkHead {
  explicit TalkHead(std::size_t number) noexcept : index(number) {}

  std::size_t index;
  std::atomic<std::uint64_t> tokens{0};
  std::atomic<std::uint64_t> prepared{0};  ///< Tokens that have committed memory.
  std::atomic<std::uint64_t> most{0};  ///< The most tokens held since the last restart of peaks.
  std::atomic<std::uint64_t> generation{0};  ///< Odd while the talk is closed.
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// The handle of one conversation on one side of a layout: `Talk` on the host, `DeviceTalk` on a
/// device. It is a value that refers to the layout, which must outlive it. `prepare` makes room
/// between two passes. The pass then calls `advance` and writes the rows. `rewind` takes back a
/// draft that was rejected.
///
/// After the talk is closed, every member except `index` and `is_open` throws WrongState, even if
/// its slot has been opened again.
///
/// Thread-safety: a talk has one writer, and different talks may have different writers. `tokens`,
/// `room` and `capacity` may be called from any thread.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Plan plan;
/// plan.talks = 2;
/// plan.history.append({.name = "layers.0.k", .role = RegionRole::kv, .bytes = 4_MiB,
///                      .alignment = 4096, .growth = {.bytes_per_token = 1024, .capacity = 4096}});
/// Layout layout(plan, {.commit = Commit::with_talks});
/// Talk talk = layout.talk(0);
/// talk.prepare(100);
/// const std::uint64_t token = talk.advance();
/// talk.row(layout.plan().history.regions()[0], token)[0] = std::byte{1};
/// assert(talk.tokens() == 1 && talk.capacity() == 4096);
/// talk.close();
/// assert(layout.open_talk().index() == 0);
/// @endcode
template <class Memory>
class BasicTalk {
 public:
  /// The number of the talk's slot, less than `talks()` of the layout.
  [[nodiscard]] std::size_t index() const noexcept { return head_->index; }
  [[nodiscard]] bool is_open() const noexcept {
    return head_->generation.load(std::memory_order_relaxed) == generation_;
  }

  /// Commits the memory that the next `tokens` need. O(1) if they already have room, otherwise
  /// O(regions): on the host usually without a system call (see `Commit`), on a device
  /// with driver calls. Must not be called during a pass. If the budget, the host or a device's
  /// pool has too little left, pages of cleared and closed talks are used first. On an error, the
  /// talk is unchanged.
  /// @throws TalkFull beyond the plan, which no other talk can change; OutOfMemory beyond the
  /// budget, which other talks can: its `limit()` is "history_budget", or the name of a limit of
  /// the host or its memory cgroup. SystemError or DeviceError; WrongState if the layout has no
  /// plan or the device is sealed.
  void prepare(std::uint64_t tokens);

  /// The bytes of pages that `prepare(tokens)` needs beyond those that the talk has; 0 if it has
  /// room. `prepare` may take more, since it grows by whole steps where it can. Changes nothing.
  /// May be called from any thread.
  /// @throws TalkFull beyond the plan; WrongState if the layout has no plan.
  [[nodiscard]] std::size_t pages_needed(std::uint64_t tokens) const;

  /// Adds `tokens` to the talk, whose rows may then be written. Returns the position of the first
  /// new token. O(1), no system call. A windowed region reuses its rows as a ring.
  /// @throws NotPrepared if the room was not prepared; TalkFull beyond the plan.
  std::uint64_t advance(std::uint64_t tokens = 1) {
    require_open();
    const std::uint64_t first = head_->tokens.load(std::memory_order_relaxed);
    if (tokens > head_->prepared.load(std::memory_order_acquire) - first) [[unlikely]]
      throw_no_room(tokens);
    head_->tokens.store(first + tokens, std::memory_order_relaxed);
    if (first + tokens > head_->most.load(std::memory_order_relaxed)) {
      head_->most.store(first + tokens, std::memory_order_relaxed);
    }
    if constexpr (internal::checking::kListening) note_rows(first);
    return first;
  }

  /// Removes the last `tokens`, or all if there are fewer, and keeps the pages. O(regions). Does
  /// not restore what a window's ring or a recurrent state has overwritten in the meantime.
  void rewind(std::uint64_t tokens);

  [[nodiscard]] std::uint64_t tokens() const {
    require_open();
    return head_->tokens.load(std::memory_order_relaxed);
  }
  /// Tokens that `advance` can add without another `prepare`.
  [[nodiscard]] std::uint64_t room() const { return stat().room; }
  /// Tokens that the plan has room for, or `kUnlimitedTokens` if the plan does not limit the talk.
  /// This may be more than was planned for: `PlanOptions::cell_rounding` rounds the cells of a talk
  /// up, to a multiple of 256 by default, and the talk may fill them all. An engine that must stop
  /// at the context of its model compares `tokens()` with that context itself. 0 if the layout was
  /// made from sizes.
  [[nodiscard]] std::uint64_t capacity() const { return stat().capacity; }

  /// Sets the stream of a device on which all of the talk's work runs from now on. A wipe
  /// (`DeviceLayoutOptions::wipe_on_clear`) runs on it, behind that work, and another talk that
  /// takes the pages after `clear` waits for what was on this stream then. Of a talk without a
  /// stream, a wipe runs on the default stream, and its pages are taken when the whole device is
  /// idle. Waits for a wipe on the former stream; the new stream must wait for other work there.
  /// @throws DeviceError.
  void set_stream(StreamHandle stream) requires(!Memory::kWritable);

  /// Ends the conversation without clearing scratch. O(1) without `wipe_on_clear`, no system call;
  /// on a device, a talk with a stream records an event there.
  /// The talk keeps its pages until another talk needs them, so prepare it again before it
  /// advances.
  /// @throws DeviceError of a wipe on a device, and the talk is then unchanged.
  void clear();

  /// Clears the talk and frees its slot, which `open_talk` reuses first. Every handle of the talk
  /// becomes invalid.
  void close();

  /// Makes the prepared memory resident, so that the first touch of a page does not fault. A
  /// device's pages are resident as soon as they are prepared. See `Block::warm`. @throws what
  /// `options.progress` throws.
  [[nodiscard]] WarmResult warm(const WarmOptions& options = {}) requires(Memory::kWritable);

  /// Releases the pages that `prepare` committed beyond the talk's tokens, to the system or to the
  /// device's pool. A device's pages are released after `after` has fired; pass nullptr if nothing
  /// uses them. Returns the number of bytes released.
  /// @throws WrongState if the device is sealed; DeviceError of the event.
  std::size_t decommit(typename Memory::After after = {});

  /// Returns the row of one token in a region that grows. In a windowed region, this is the row of
  /// the ring. O(1): the checks are a few comparisons.
  /// @throws InvalidArgument if the region is not one of plan().history or does not grow, or if
  /// `token` is not less than `tokens()`; WrongState if the talk is closed.
  template <class T = std::byte>
  [[nodiscard]] typename Memory::template Span<T> row(const Region& region,
                                                      std::uint64_t token) const {
    require_open();
    const auto all = side_->template history_at<T>(region, index());
    const Growth& growth = side_->plan().history.regions()[region.index].growth;
    const bool grows = growth.bytes_per_token != 0 && growth.capacity != 0;
    if (!grows || token >= head_->tokens.load(std::memory_order_relaxed)) [[unlikely]]
      throw_no_row(region, token);
    const std::size_t elements = growth.bytes_per_token / sizeof(T);
    return all.subspan(token % growth.capacity * elements, elements);
  }

  [[nodiscard]] TalkStat stat() const;

 private:
  friend class internal::Side<Memory>;

  using Core = internal::TalkCore<Memory>;

  BasicTalk(internal::Side<Memory>& side, internal::TalkHead& head) noexcept
      : side_(&side), head_(&head), generation_(head.generation.load(std::memory_order_relaxed)) {}

  void require_open() const {
    if (!is_open()) [[unlikely]]
      throw_closed(index());
  }
  [[noreturn]] static void throw_closed(std::size_t talk);
  [[noreturn]] void throw_no_room(std::uint64_t tokens);
  [[noreturn]] void throw_no_row(const Region& region, std::uint64_t token) const;
  void note_rows(std::uint64_t first) noexcept;
  [[nodiscard]] Core& core() const;

  internal::Side<Memory>* side_;
  internal::TalkHead* head_;
  std::uint64_t generation_;
};

/// One element of a batch that is prepared at once: `Layout::prepare`, `DeviceLayout::prepare`.
template <class Memory>
struct BasicTalkTokens {
  BasicTalk<Memory> talk;
  std::uint64_t tokens = 1;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
