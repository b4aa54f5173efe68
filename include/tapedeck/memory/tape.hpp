/// @file
/// `Tape`: the bump allocator everything else is about.
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

/// What takes, clears and rewinds of a tape of the host touch beside its head: a base of the tape
/// like the head, so that they lie in one cache line.
struct OpenLine {
 protected:
  std::uintptr_t crumb_ = 0;        // end of the last packed take; 0: no line is open
  std::uint32_t on_give_back_ = 0;  // what clear and rewind do beyond moving the head
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

class Block;

struct TapeOptions {
  std::string name = "tape";  ///< Shown in errors and statistics.
  /// 0 commits everything at creation. Otherwise one step is committed, and a take beyond the
  /// committed end commits the next; nothing moves.
  std::size_t commit_step = 0;
  bool wipe_on_clear = false;    ///< Zero what `clear` and `rewind` take back: several tenants.
  SpillSource* spill = nullptr;  ///< Where takes go when the tape is full; nullptr: they fail.
  BlockOptions block{};
};

/// A bump allocator over a `Block`: a take moves the head forward, `clear()` moves it back.
///
/// Takes are 64-byte lines: the head is always a multiple of 64, so with the default alignment a
/// take is one addition and one comparison. Takes with a smaller alignment are packed byte by byte
/// into lines of their own.
///
/// Below the **floor** lie regions that stay: `clear()` rewinds to the floor and never below.
///
/// Thread-safety: one writer at a time, any number of readers. `used`, `free`, `total`, `peak`,
/// `committed`, `floor`, `name` and `stat` are for readers and may run beside the writer;
/// everything else is the writer's. Handing the writer's role to another thread needs a
/// happens-before. Many writers: `split`, or `SharedTape`. ThreadSanitizer reports two writers
/// without a happens-before; a library built with `TAPEDECK_OWNER_CHECK` ends the program at the
/// first write of a second thread that `hand_over` did not announce.
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
  /// A place on the tape, to go back to.
  class Mark;

  /// A tape without memory: every take but that of zero bytes fails.
  Tape() noexcept;
  /// Moving needs the tape quiet: no writer, no reader, no `TapeScope` or `TapeResource` on it.
  Tape(Tape&& other) noexcept;
  Tape& operator=(Tape other) noexcept {
    swap(other);  // which then ends with what this tape had
    return *this;
  }
  ~Tape();

  /// A tape over `bytes` (rounded up to pages) of anonymous memory.
  /// @throws InvalidArgument; SystemError. Nothing is left behind.
  [[nodiscard]] static Tape start(std::size_t bytes, TapeOptions options = {});

  /// As `start`, with everything committed and resident: no take and no first touch faults.
  /// @throws also OutOfMemory when host or cgroup have no room for it; SystemError with ECANCELED
  /// when it was stopped; InvalidArgument with a `commit_step`.
  [[nodiscard]] static Tape start_warm(std::size_t bytes, TapeOptions options = {},
                                       const WarmOptions& warm = {});

  /// A tape over any block: a mapped file's tape is full from the start, below its floor. Of
  /// borrowed memory the whole 64-byte lines inside are used. `options.block` is not looked at.
  /// @throws InvalidArgument if the block has no whole line; SystemError.
  [[nodiscard]] static Tape over(Block block, TapeOptions options = {});

  /// A tape whose first bytes are `planned`: they lie below its floor, and somebody else commits
  /// them, region by region. Takes go into `above`, the block right behind them, which may be
  /// empty; the tape is full then.
  /// @pre both begin at multiples of 64, and `planned` outlives the tape.
  /// @throws InvalidArgument if `above` is not empty and begins elsewhere; SystemError.
  [[nodiscard]] static Tape behind(std::span<std::byte> planned, Block above,
                                   TapeOptions options = {});

  using TypedTakes::try_take;

  /// `bytes` with undefined contents at a multiple of `align`, a power of two; nullptr when the
  /// tape is full. Zero bytes: an aligned pointer that is not null and takes no room.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kLine) noexcept {
    if (align < kLine) return try_take_packed(bytes, align);
    void* at = take_lines(bytes, align);
    if (at == nullptr) [[unlikely]]
      return take_slow(bytes, align);
    internal::checking::unpoison(reinterpret_cast<std::uintptr_t>(at), bytes);
    return at;
  }

  /// Gives back everything above the floor. O(1), plus the blocks that were spilled; nothing is
  /// zeroed unless `wipe_on_clear`. Debug builds of the library fill what was taken with 0xDD.
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

  /// Gives back everything taken after the mark, which may be used again. A mark made before the
  /// last `clear()`, or below the floor, does nothing. @pre the mark is of this tape, and no older
  /// one was rewound to since it was made.
  void rewind(const Mark& mark) noexcept;

  /// What is taken now stays through every clear: the head becomes the floor. Spilled blocks do not
  /// lie on the tape, and go with the next clear all the same.
  void raise_floor() noexcept {
    crumb_ = 0;  // later packed takes must not share a line with what stays
    TapeHead::raise_floor();
  }
  /// Begins a new watch, with what is used now: the peak of a phase, then, is `recent_peak()`, and
  /// `peak()` is what it was.
  using TapeHead::restart_peak;

  /// Gives the writer's role away: the next thread that writes has it. What was written before must
  /// happen before that. Without `TAPEDECK_OWNER_CHECK` nothing needs it, and it does nothing.
  using TapeHead::hand_over;

  /// Commits what the next `bytes` of takes need, so that none of them grows the tape.
  /// @throws TapeFull if the tape is too small; SystemError.
  using BlockTape::prepare;
  /// As `prepare`; false instead of an error.
  [[nodiscard]] bool try_prepare(std::size_t bytes) noexcept;

  /// Gives the committed pages above the head back to the system and keeps the addresses; takes
  /// commit them again, by steps (a tape without a step then uses 2 MiB). Returns bytes given back.
  std::size_t decommit() noexcept;

  /// Makes the committed part resident. See `Block::warm`.
  [[nodiscard]] WarmResult warm(const WarmOptions& options = {});
  /// What of the committed part is resident now. Makes system calls.
  [[nodiscard]] Residency residency() const;

  /// `n` child tapes over equal parts of what is free, one for each worker: the fast way to many
  /// writers. The children belong to this tape and live as long; their memory is committed at once
  /// and lies below its floor. `clear()` of this tape clears them all, while the workers are quiet.
  /// What they spill or refuse is in their own `stat()`.
  /// @pre nothing is taken above the floor, and the tape was not split before.
  /// @throws InvalidArgument for 0; WrongState; TapeFull if no child would get a line; SystemError.
  std::span<Tape> split(std::size_t n);
  [[nodiscard]] std::span<Tape> children() noexcept;

  /// True for an address on this tape, taken or not, and inside a spilled block. O(1), plus the
  /// blocks that are spilled now.
  [[nodiscard]] bool owns(const void* address) const noexcept {
    return TapeHead::owns(address) || (spilled_ != nullptr && owns_spilled(address));
  }

  /// `note_planned(committed, grew)` tells a tape made by `behind` how many bytes of what is
  /// planned are committed now, for its figures; `grew` counts as growth.
  using BlockTape::note_planned;

 private:
  struct Spilled;

  // A packed take fills the open line first: the one that ends behind crumb_. It goes on into the
  // following lines where nothing else was taken since.
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
  // Packed takes may have gone on in the line that was open at the mark; a line that has since come
  // below the floor stays.
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
