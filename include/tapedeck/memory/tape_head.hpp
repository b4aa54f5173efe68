// SPDX-License-Identifier: Apache-2.0
/// @file
/// The head of a tape, shared by all kinds of tape: the part that moves, and its view for readers.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/checking.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Increases a counter that has one writer and any number of readers. Returns the new value.
template <class Number>
Number increase(std::atomic<Number>& counter, Number by) noexcept {
  const Number sum = counter.load(std::memory_order_relaxed) + by;
  counter.store(sum, std::memory_order_relaxed);
  return sum;
}

/// Moves a head over `[base, end)` in lines of `Line` bytes. Public members may run concurrently
/// with the writer. Each kind of tape builds its writer's operations from the protected members.
template <std::size_t Line>
class TapeHead {
 public:
  /// A position on the tape that it can be rewound to.
  class Mark {
   protected:
    friend class TapeHead;
    Mark(std::uintptr_t head, std::uint64_t clears) noexcept : head_(head), clears_(clears) {}

    std::uintptr_t head_;
    std::uint64_t clears_;
  };

  friend struct TapeInternals;
  TapeHead(const TapeHead&) = delete;
  TapeHead& operator=(const TapeHead&) = delete;

  /// Bytes taken, not counting spilled blocks, which are not on the tape.
  [[nodiscard]] std::size_t used() const noexcept {
    return head_.load(std::memory_order_acquire) - base_;
  }
  [[nodiscard]] std::size_t total() const noexcept { return end_ - base_; }  ///< Bytes reserved.
  [[nodiscard]] std::size_t free() const noexcept {
    return total() - used();
  }                                                   ///< Bytes not taken.
  [[nodiscard]] std::size_t floor() const noexcept {  ///< Bytes below the floor.
    return floor_.load(std::memory_order_relaxed) - base_;
  }
  /// Bytes usable without growth. They are the first bytes of the tape only if `floor_is_usable()`.
  [[nodiscard]] std::size_t committed() const noexcept {
    return limit_.load(std::memory_order_relaxed) - base_ -
           uncommitted_.load(std::memory_order_relaxed);
  }
  /// Whether all bytes below the floor are committed. Those of a plan may not be.
  [[nodiscard]] bool floor_is_usable() const noexcept {
    return uncommitted_.load(std::memory_order_relaxed) == 0;
  }
  [[nodiscard]] std::size_t peak() const noexcept {  ///< The most bytes that were ever in use.
#if defined(TAPEDECK_MUTANT_FORMER_PEAK_FIRST)       // tape_interleaving_test must catch this
    const std::size_t former = former_peak_.load(std::memory_order_relaxed) - base_;
    const std::size_t recent = recent_peak();
#else
    const std::size_t recent = recent_peak();
    const std::size_t former = former_peak_.load(std::memory_order_relaxed) - base_;
#endif
    return recent > former ? recent : former;
  }
  /// The most bytes in use since the last `restart_peak()`.
  [[nodiscard]] std::size_t recent_peak() const noexcept {
    const std::uintptr_t head = head_.load(std::memory_order_acquire);
    const std::uintptr_t peak = peak_.load(std::memory_order_acquire);
    return (head > peak ? head : peak) - base_;
  }
  [[nodiscard]] std::uint64_t clears() const noexcept {
    return clears_.load(std::memory_order_relaxed);
  }
  /// True for an address on this tape, taken or not.
  [[nodiscard]] bool owns(const void* address) const noexcept {
    return reinterpret_cast<std::uintptr_t>(address) - base_ < end_ - base_;
  }
  /// The first byte of the tape. The offset of a region in a plan is relative to it.
  [[nodiscard]] std::byte* data() const noexcept { return reinterpret_cast<std::byte*>(base_); }

 protected:
  TapeHead() noexcept = default;
  ~TapeHead() = default;

  /// Covers `[base, end)`. Takes begin at `start`, which is also the floor.
  void lie_over(std::uintptr_t base, std::uintptr_t start, std::uintptr_t end) noexcept {
    base_ = base;
    end_ = end;
    for (auto* place : {&head_, &limit_, &floor_, &peak_, &former_peak_}) {
      place->store(start, std::memory_order_relaxed);
    }
  }

  /// The fast path of a take: whole lines at the head. Returns nullptr if the slow path is needed:
  /// for zero bytes, beyond the committed end, or for an alignment that the head does not have.
  [[nodiscard]] void* take_lines(std::size_t bytes, std::size_t align) noexcept {
    assert(std::has_single_bit(align));
    watch_.on_write();
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    if (align > Line && (head & (align - 1)) != 0) [[unlikely]]
      return nullptr;
    // The processor fuses each of these three branches with its test and predicts it, which is
    // cheaper than the subtraction that a single branch would need. A size near 2^64 rounds up to 0
    // or makes the addition overflow.
    const std::uintptr_t lines = round_up(bytes, Line);
    std::uintptr_t next = 0;
    if (lines == 0 || __builtin_add_overflow(head, lines, &next) ||
        next > limit_.load(std::memory_order_relaxed)) [[unlikely]] {
      return nullptr;
    }
    head_.store(next, std::memory_order_relaxed);
    if (head == 0) __builtin_unreachable();  // so that `take` does not test the pointer again
    return reinterpret_cast<void*>(head);
  }

  /// Where `bytes` at `align` begin if the head is at `head`; 0 if they end beyond the tape.
  [[nodiscard]] std::uintptr_t start_behind(std::uintptr_t head, std::size_t bytes,
                                            std::size_t align) const noexcept {
    const std::uintptr_t start = round_up(head, align > Line ? align : Line);
    return start < head || start > end_ || bytes > end_ - start ? 0 : start;
  }
  /// The end of the next `bytes` of takes; 0 if it is beyond the tape.
  [[nodiscard]] std::uintptr_t end_of_next(std::size_t bytes) const noexcept {
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    return bytes > end_ - head ? 0 : round_up(head + bytes, Line);
  }
  [[nodiscard]] bool is_committed(std::uintptr_t end) const noexcept {
    return end <= limit_.load(std::memory_order_relaxed);
  }
  /// Publishes the committed end of the block to readers.
  void commit_until(std::uintptr_t end) noexcept {
    const std::uintptr_t floor = floor_.load(std::memory_order_relaxed);
    limit_.store(std::clamp(round_down(end, Line), floor, end_), std::memory_order_relaxed);
  }

  [[nodiscard]] Mark mark() const noexcept {
    watch_.on_write();  // a mark only makes sense together with other state of the writer
    return {head_.load(std::memory_order_relaxed), clears_.load(std::memory_order_relaxed)};
  }
  /// Whether a mark was made before the last clear, or is below the floor or above the head.
  [[nodiscard]] bool is_stale(const Mark& mark, std::uintptr_t head) const noexcept {
    return mark.clears_ != clears_.load(std::memory_order_relaxed) || mark.head_ > head ||
           mark.head_ < floor_.load(std::memory_order_relaxed);
  }
  void rewind(const Mark& mark) noexcept {
    watch_.on_write();
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    if (is_stale(mark, head)) [[unlikely]]
      return;
    lower(head, mark.head_);
  }
  void clear() noexcept {
    watch_.on_write();
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    clear(floor_.load(std::memory_order_relaxed), head);
  }
  void clear(std::uintptr_t floor, std::uintptr_t head) noexcept {
    lower(head, floor);
    increase(clears_, std::uint64_t{1});
  }
  void lower(std::uintptr_t head, std::uintptr_t to) noexcept {
    fold_peak(head);
    // Release, after the peak: a reader that sees the lower head also sees the peak.
    head_.store(to, std::memory_order_release);
  }
  void raise_floor() noexcept {
    watch_.on_write();
    floor_.store(head_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  void restart_peak() noexcept {
    watch_.on_write();
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    fold_peak(head);
    const std::uintptr_t recent = peak_.load(std::memory_order_relaxed);
    const std::uintptr_t former = former_peak_.load(std::memory_order_relaxed);
#if defined(TAPEDECK_MUTANT_NEW_WATCH_FIRST)  // tape_interleaving_test must catch this
    peak_.store(head, std::memory_order_release);
#endif
    former_peak_.store(recent > former ? recent : former, std::memory_order_relaxed);
    // Release, after former_peak_: a reader that sees the new peak also sees the former one.
    peak_.store(head, std::memory_order_release);
  }

  void hand_over() noexcept { watch_.hand_over(); }

  /// @pre neither tape is in use by another thread.
  void swap(TapeHead& other) noexcept {
    for (auto member : {&TapeHead::head_, &TapeHead::limit_, &TapeHead::floor_, &TapeHead::peak_,
                        &TapeHead::former_peak_, &TapeHead::uncommitted_}) {
      swap_relaxed(this->*member, other.*member);
    }
    swap_relaxed(clears_, other.clears_);
    std::swap(base_, other.base_);
    std::swap(end_, other.end_);
    watch_.swap(other.watch_);
  }

  // All of these but clears_ and uncommitted_ are addresses at multiples of `Line`. In a tape
  // without memory they are all `Line`, so that even a take of zero bytes is not null. Members that
  // a take, a clear or a rewind touches come first.
  std::atomic<std::uintptr_t> head_{Line};
  std::atomic<std::uintptr_t> limit_{Line};  // committed end
  std::atomic<std::uintptr_t> floor_{Line};
  std::atomic<std::uintptr_t> peak_{Line};
  std::atomic<std::uint64_t> clears_{0};
  std::uintptr_t base_ = Line;
  std::uintptr_t end_ = Line;
  std::atomic<std::uintptr_t> former_peak_{Line};  // before the last restart_peak()
  std::atomic<std::size_t> uncommitted_{0};        // bytes below the floor

  [[no_unique_address]] mutable checking::WriterWatch watch_{};

 private:
  void fold_peak(std::uintptr_t head) noexcept {
    if (head > peak_.load(std::memory_order_relaxed)) {
      peak_.store(head, std::memory_order_relaxed);
    }
  }
  template <class Number>
  static void swap_relaxed(std::atomic<Number>& a, std::atomic<Number>& b) noexcept {
    const Number before = a.load(std::memory_order_relaxed);
    a.store(b.load(std::memory_order_relaxed), std::memory_order_relaxed);
    b.store(before, std::memory_order_relaxed);
  }
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
