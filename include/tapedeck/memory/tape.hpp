// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Tape`: the bump allocator at the center of the library.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/block_options.hpp"
#include "tapedeck/memory/block_tape.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_head.hpp"
#include "tapedeck/memory/typed_takes.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// The data, other than the head, that takes, clears and rewinds of a host tape touch. It is a base
/// class like the head, so that both are in one cache line.
struct OpenLine {
 protected:
  std::uintptr_t crumb_ = 0;        // end of the last packed take; 0: no line is open
  std::uint32_t on_give_back_ = 0;  // what clear and rewind do in addition to moving the head
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

class Block;

struct TapeOptions {
  std::string name = "tape";  ///< Shown in errors and statistics.
  /// 0 commits everything at creation. Otherwise one step of this many bytes is committed, and a
  /// take beyond the committed end commits the next step; nothing moves.
  std::size_t commit_step = 0;
  bool wipe_on_clear = false;    ///< Zero memory that `clear` and `rewind` release (multi-tenant).
  SpillSource* spill = nullptr;  ///< Serves takes when the tape is full; nullptr: they fail.
  BlockOptions block{};
};

/// A bump allocator over a `Block`: a take moves the head forward, `clear()` moves it back.
///
/// Takes are made of 64-byte lines: the head is always a multiple of 64, so with the default
/// alignment a take is one addition and one comparison. Takes with a smaller alignment are packed
/// byte by byte into lines of their own.
///
/// Regions below the **floor** are permanent: `clear()` rewinds to the floor and never below it.
///
/// Thread-safety: one writer at a time, any number of readers. `used`, `free`, `total`, `peak`,
/// `committed`, `floor`, `name` and `stat` are for readers and may run concurrently with the
/// writer; all other members are for the writer only. Handing the writer's role to another thread
/// needs a happens-before. For many writers, use `split` or `SharedTape`. ThreadSanitizer reports
/// two writers without a happens-before. A library built with `TAPEDECK_OWNER_CHECK` aborts the
/// program at the first write by a second thread that `hand_over` did not announce.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape scratch = Tape::start(1_MiB, {.name = "scratch"});
/// std::span<float> logits = scratch.take<float>(32'000);  // throws TapeFull
/// if (void* more = scratch.try_take(4_KiB)) {             // nullptr when full
///   std::memset(more, 0, 4_KiB);
/// }
/// logits[0] = 1.0F;
/// scratch.clear();  // O(1); with AddressSanitizer, touching logits now dies
/// assert(scratch.used() == 0 && scratch.peak() > 0);
/// @endcode
class alignas(kLine) Tape : internal::OpenLine,
                            public internal::BlockTape<kLine, Block, TapeOptions>,
                            public TypedTakes<Tape> {
 public:
  /// A position on the tape that it can be rewound to.
  class Mark;

  /// Creates a tape without memory. Every take fails, except takes of zero bytes.
  Tape() noexcept;
  /// @pre `other` has no writer, no reader, and no `TapeScope` or `TapeResource` on it.
  Tape(Tape&& other) noexcept;
  Tape& operator=(Tape other) noexcept {
    swap(other);  // `other` then destroys the former contents of this tape
    return *this;
  }
  ~Tape();

  /// Creates a tape over `bytes` (rounded up to pages) of anonymous memory.
  /// @throws InvalidArgument; OutOfMemory if the host or the cgroup has no room; SystemError. An
  /// error leaves nothing allocated.
  [[nodiscard]] static Tape start(std::size_t bytes, TapeOptions options = {});

  /// Like `start`, but commits everything and makes it resident: no take and no first touch faults.
  /// @throws InvalidArgument, also for a `commit_step`; OutOfMemory if the host or the cgroup has
  /// no room; SystemError, with ECANCELED if it was stopped.
  [[nodiscard]] static Tape start_warm(std::size_t bytes, TapeOptions options = {},
                                       const WarmOptions& warm = {});

  /// Creates a tape over any block. The tape of a mapped file is full from the start, below its
  /// floor. Of borrowed memory, only whole 64-byte lines are used.
  /// @throws InvalidArgument if the block does not contain a whole line, or if `options.block` asks
  /// for anything, which has no effect on a block that exists; SystemError.
  [[nodiscard]] static Tape over(Block block, TapeOptions options = {});

  /// Creates a tape whose first bytes are `planned`. They are below its floor, and the caller
  /// commits them region by region. Takes go into `above`, the block directly behind them. If
  /// `above` is empty, the tape is full.
  /// @pre both begin at multiples of 64, and `planned` outlives the tape.
  /// @throws InvalidArgument if `above` is not empty and begins elsewhere, or if `options.block`
  /// asks for anything; SystemError.
  [[nodiscard]] static Tape behind(std::span<std::byte> planned, Block above,
                                   TapeOptions options = {});

  using TypedTakes::try_take;

  /// Takes `bytes` with undefined contents at a multiple of `align`, a power of two. Returns
  /// nullptr if the tape is full. Zero bytes give an aligned non-null pointer and use no room.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kLine) noexcept {
    if constexpr (internal::checking::kRedZone != 0) return take_with_red_zone(bytes, align);
    if (align < kLine) return try_take_packed(bytes, align);
    void* at = take_lines(bytes, align);
    if (at == nullptr) [[unlikely]]
      return take_slow(bytes, align);
    internal::checking::unpoison(reinterpret_cast<std::uintptr_t>(at), bytes);
    return at;
  }

  /// Releases everything above the floor. O(1), plus the number of spilled blocks. Nothing is
  /// zeroed without `wipe_on_clear`. Debug builds of the library fill released memory with 0xDD.
  void clear() noexcept {
    watch_.on_write();
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    const std::uintptr_t floor = floor_.load(std::memory_order_relaxed);
    crumb_ = 0;
    TapeHead::clear(floor, head);
    if (on_give_back_ != 0) [[unlikely]]
      clear_extras(floor, head);
    internal::checking::poison(floor, head - floor);
  }

  [[nodiscard]] Mark mark() const noexcept;

  /// Releases everything taken after the mark. The same mark may be used again. A mark made before
  /// the last `clear()`, or below the floor, has no effect. @pre the mark is from this tape, and
  /// the tape has not been rewound to an older mark since this one was made.
  void rewind(const Mark& mark) noexcept;

  /// Moves the floor up to the head, so that everything taken so far survives `clear()`. Spilled
  /// blocks are not on the tape, so the next clear still frees them.
  void raise_floor() noexcept {
    crumb_ = 0;  // later packed takes must not share a line with what stays
    TapeHead::raise_floor();
  }
  /// Starts measuring `recent_peak()` anew from the bytes used now, for example to get the peak of
  /// one phase. `peak()` is not affected.
  using TapeHead::restart_peak;

  /// Gives up the writer's role: the next thread that writes becomes the writer. Earlier writes
  /// must happen before that thread's first write. Without `TAPEDECK_OWNER_CHECK` this is not
  /// needed and has no effect.
  using TapeHead::hand_over;

  /// Commits the memory for the next `bytes` of takes, so that none of them grows the tape.
  /// @throws TapeFull if the tape is too small; OutOfMemory if the host or the cgroup has no room;
  /// SystemError.
  using BlockTape::prepare;
  /// Like `prepare`, but returns false instead of throwing.
  [[nodiscard]] bool try_prepare(std::size_t bytes) noexcept;

  /// Returns the committed pages above the head to the system and keeps the addresses. Later takes
  /// commit them again in steps (of 2 MiB if the tape has no `commit_step`). Returns the number of
  /// bytes given back.
  std::size_t decommit() noexcept;

  /// Makes the committed part resident. See `Block::warm`.
  [[nodiscard]] WarmResult warm(const WarmOptions& options = {});
  /// How much of the committed part is resident now. Makes system calls.
  [[nodiscard]] Residency residency() const;

  /// Creates `n` child tapes over equal parts of the free memory, one for each worker. This is the
  /// fast way to have many writers. This tape owns the children and keeps them until it is
  /// destroyed. Their memory is committed at once and is below its floor. `clear()` of this tape
  /// clears all children; their workers must be idle meanwhile. Each child counts its own spills
  /// and refusals in its `stat()`.
  /// @pre nothing is taken above the floor, and the tape has not been split.
  /// @throws InvalidArgument for 0; WrongState if the precondition does not hold; TapeFull if a
  /// child would not get a line; SystemError.
  std::span<Tape> split(std::size_t n);
  [[nodiscard]] std::span<Tape> children() noexcept;

  /// True for an address on this tape, taken or not, or inside a spilled block. O(1), plus the
  /// number of blocks that are currently spilled.
  [[nodiscard]] bool owns(const void* address) const noexcept {
    return TapeHead::owns(address) || (spilled_ != nullptr && owns_spilled(address));
  }

  /// `take_planned(bytes)` takes exactly these bytes, which are committed, and raises the floor.
  using BlockTape::take_planned;
  /// `note_planned(committed, grew)` updates the statistics of a tape made by `behind`: `committed`
  /// is the number of planned bytes that are now committed; `grew` counts one growth.
  using BlockTape::note_planned;
  /// Updates which options the host did not grant to the planned bytes of a tape made by `behind`:
  /// for each `Wish`, errno or 0.
  using BlockTape::note_unmet;

 private:
  struct Spilled;

  // A packed take first fills the open line, which is the one that crumb_ is in. It continues into
  // the following lines if nothing else has been taken since.
  [[nodiscard]] void* try_take_packed(std::size_t bytes, std::size_t align) noexcept {
    assert(std::has_single_bit(align));
    watch_.on_write();
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    if (bytes == 0) return reinterpret_cast<void*>(head);
    const std::uintptr_t at = round_up(crumb_, align);
    const std::uintptr_t line_end = round_up(crumb_, kLine);
    if (bytes <= line_end - at) {
      crumb_ = at + bytes;
      internal::checking::unpoison(at, bytes);
      return reinterpret_cast<void*>(at);
    }
    const std::uintptr_t start = line_end == head ? at : head;
    if (bytes > limit_.load(std::memory_order_relaxed) - start) [[unlikely]] {
      return take_slow(bytes, align);
    }
    crumb_ = start + bytes;
    head_.store(round_up(crumb_, kLine), std::memory_order_relaxed);
    internal::checking::unpoison(start, bytes);
    return reinterpret_cast<void*>(start);
  }

  void lay(Block block, TapeOptions options);
  [[nodiscard]] void* take_slow(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] void* take_with_red_zone(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] void* spill(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] bool grow(std::uintptr_t end) noexcept;
  void free_spilled(const Spilled* keep) noexcept;
  void overwrite_given_back(std::uintptr_t from, std::uintptr_t to) noexcept;
  void clear_extras(std::uintptr_t floor, std::uintptr_t head) noexcept;
  void rewind_extras(std::uintptr_t to, std::uintptr_t crumb, const Spilled* keep,
                     std::uintptr_t head) noexcept;
  [[nodiscard]] bool owns_spilled(const void* address) const noexcept;
  void swap(Tape& other) noexcept;

  enum : std::uint32_t { kWipe = 1, kFill = 2, kSpilled = 4, kChildren = 8 };  // on_give_back_

  Spilled* spilled_ = nullptr;  // newest first
};

class Tape::Mark : public TapeHead::Mark {
  friend class Tape;
  Mark(const TapeHead::Mark& place, std::uintptr_t crumb, const Spilled* spilled) noexcept
      : TapeHead::Mark(place), crumb_(crumb), spilled_(spilled) {}

  std::uintptr_t crumb_;
  const Spilled* spilled_;
};

inline Tape::Mark Tape::mark() const noexcept { return {TapeHead::mark(), crumb_, spilled_}; }

inline void Tape::rewind(const Mark& mark) noexcept {
  watch_.on_write();
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  if (is_stale(mark, head)) [[unlikely]]
    return;
  // Packed takes after the mark may be in the line that was open at the mark. A line that is now
  // below the floor is kept.
  const bool at_floor = mark.head_ == floor_.load(std::memory_order_relaxed);
  const std::uintptr_t crumb = at_floor ? 0 : mark.crumb_;
  crumb_ = crumb;
  lower(head, mark.head_);
  if (on_give_back_ != 0) [[unlikely]]
    rewind_extras(mark.head_, crumb, mark.spilled_, head);
  internal::checking::poison(mark.head_, head - mark.head_);
  internal::checking::poison(crumb, round_up(crumb, kLine) - crumb);
}

static_assert(sizeof(Tape) <= 128);

}  // namespace tapedeck::inline TAPEDECK_ABI
