/// @file
/// `Tape`: the bump allocator everything else is about.
#pragma once

#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/block_options.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_stat.hpp"
#include "tapedeck/memory/typed_takes.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

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
/// happens-before. Many writers: `split`, or `SharedTape`.
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
class alignas(kLine) Tape : public TypedTakes<Tape> {
 public:
  /// A place on the tape, to go back to.
  class Mark;

  /// A tape without memory: every take but that of zero bytes fails.
  Tape() noexcept;
  /// Moving needs the tape quiet: no writer, no reader, no `TapeScope` or `TapeResource` on it.
  Tape(Tape&& other) noexcept;
  Tape& operator=(Tape&& other) noexcept;
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

  using TypedTakes::take;
  using TypedTakes::try_take;

  /// `bytes` with undefined contents at a multiple of `align`, a power of two; nullptr when the
  /// tape is full. Zero bytes: an aligned pointer that is not null and takes no room.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kLine) noexcept {
    assert(std::has_single_bit(align));
    if (align < kLine) return try_take_packed(bytes, align);
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    if (align > kLine && (head & (align - 1)) != 0) [[unlikely]]
      return take_slow(bytes, align);
    // Three branches that a processor fuses with what they test, and predicts: cheaper than the
    // subtraction that one would take. A size near 2^64 rounds up to 0, or carries over.
    const std::uintptr_t lines = round_up(bytes, kLine);
    std::uintptr_t next = 0;
    if (lines == 0 || __builtin_add_overflow(head, lines, &next) ||
        next > limit_.load(std::memory_order_relaxed)) [[unlikely]] {
      return take_slow(bytes, align);
    }
    head_.store(next, std::memory_order_relaxed);
    internal::checking::unpoison(head, bytes);
    if (head == 0) __builtin_unreachable();  // so that `take` need not look at the pointer again
    return reinterpret_cast<void*>(head);
  }

  /// As `try_take`. @throws TapeFull.
  [[nodiscard]] void* take(std::size_t bytes, std::size_t align = kLine) {
    void* at = try_take(bytes, align);
    if (at == nullptr) [[unlikely]]
      throw_full(bytes);
    return at;
  }

  /// Gives back everything above the floor. O(1), plus the blocks that were spilled; nothing is
  /// zeroed unless `wipe_on_clear`. Debug builds of the library fill what was taken with 0xDD.
  void clear() noexcept {
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    const std::uintptr_t floor = floor_.load(std::memory_order_relaxed);
    fold_peak(head);
    if (on_give_back_ != 0) [[unlikely]]
      clear_extras(floor, head);
    internal::checking::poison(floor, head - floor);
    crumb_ = 0;
    // Release, after the peak: a reader that sees the lower head also sees the peak it left.
    head_.store(floor, std::memory_order_release);
    clears_.store(clears_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  [[nodiscard]] Mark mark() const noexcept;

  /// Gives back everything taken after the mark, which may be used again. A mark made before the
  /// last `clear()`, or below the floor, does nothing. @pre the mark is of this tape, and no older
  /// one was rewound to since it was made.
  void rewind(const Mark& mark) noexcept;

  /// What is taken now stays through every clear: the head becomes the floor. Spilled blocks do not
  /// lie on the tape, and go with the next clear all the same.
  void raise_floor() noexcept;

  /// Commits what the next `bytes` of takes need, so that none of them grows the tape.
  /// @throws TapeFull if the tape is too small; SystemError.
  void prepare(std::size_t bytes);
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
  /// @throws InvalidArgument; TapeFull if no child would get a line; SystemError.
  std::span<Tape> split(std::size_t n);
  [[nodiscard]] std::span<Tape> children() noexcept;

  [[nodiscard]] std::size_t used() const noexcept {  ///< Bytes taken, spilled blocks not counted.
    return head_.load(std::memory_order_acquire) - base_;
  }
  [[nodiscard]] std::size_t total() const noexcept { return end_ - base_; }  ///< Bytes reserved.
  [[nodiscard]] std::size_t free() const noexcept {
    return total() - used();
  }                                                   ///< Bytes not taken.
  [[nodiscard]] std::size_t floor() const noexcept {  ///< Bytes below the floor.
    return floor_.load(std::memory_order_relaxed) - base_;
  }
  [[nodiscard]] std::size_t committed() const noexcept;  ///< Bytes usable without growth.
  [[nodiscard]] std::size_t peak() const noexcept {      ///< The most bytes that were ever used.
#if defined(TAPEDECK_MUTANT_FORMER_PEAK_FIRST)           // tape_interleaving_test must catch this
    const std::size_t former = former_peak_.load(std::memory_order_relaxed) - base_;
    const std::size_t recent = recent_peak();
#else
    const std::size_t recent = recent_peak();
    const std::size_t former = former_peak_.load(std::memory_order_relaxed) - base_;
#endif
    return recent > former ? recent : former;
  }
  /// The most bytes used since the last `restart_peak()`.
  [[nodiscard]] std::size_t recent_peak() const noexcept {
    const std::uintptr_t head = head_.load(std::memory_order_acquire);
    const std::uintptr_t peak = peak_.load(std::memory_order_acquire);
    return (head > peak ? head : peak) - base_;
  }
  /// Begins a new watch, with what is used now: the peak of a phase, then, is `recent_peak()`, and
  /// `peak()` is what it was. For the writer.
  void restart_peak() noexcept;
  [[nodiscard]] std::uint64_t clears() const noexcept {
    return clears_.load(std::memory_order_relaxed);
  }

  /// True for an address on this tape, taken or not, and inside a spilled block. O(1), plus the
  /// blocks that are spilled now.
  [[nodiscard]] bool owns(const void* address) const noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (at - base_ < end_ - base_) return true;
    return spilled_ != nullptr && owns_spilled(at);
  }

  [[nodiscard]] const std::string& name() const noexcept;
  /// All figures at once: no system call, no lock.
  [[nodiscard]] TapeStat stat() const noexcept;
  /// The block below, for its wishes and its descriptor.
  [[nodiscard]] const Block& block() const noexcept;
  /// Tells a tape made by `behind` how much of what is planned is committed now, for its figures;
  /// `grew` counts as growth.
  void note_planned(std::size_t committed, bool grew) noexcept;
  /// The first byte: a region of a plan lies at its offset from here.
  [[nodiscard]] std::byte* data() const noexcept { return reinterpret_cast<std::byte*>(base_); }

 private:
  struct Cold;
  struct Spilled;
  friend struct TapeInternals;

  // A packed take fills the open line first: the one that ends behind crumb_. It goes on into the
  // following lines where nothing else was taken since.
  [[nodiscard]] void* try_take_packed(std::size_t bytes, std::size_t align) noexcept {
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

  void fold_peak(std::uintptr_t head) noexcept {
    if (head > peak_.load(std::memory_order_relaxed)) {
      peak_.store(head, std::memory_order_relaxed);
    }
  }

  [[nodiscard]] void* take_slow(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] void* spill(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] bool grow(std::uintptr_t end) noexcept;
  void note_commit() noexcept;
  void free_spilled(const Spilled* keep) noexcept;
  void overwrite_given_back(std::uintptr_t from, std::uintptr_t to) noexcept;
  [[noreturn]] void throw_full(std::size_t bytes) const;
  void clear_extras(std::uintptr_t floor, std::uintptr_t head) noexcept;
  void rewind_extras(std::uintptr_t to, std::uintptr_t crumb, const Spilled* keep,
                     std::uintptr_t head) noexcept;
  [[nodiscard]] bool owns_spilled(std::uintptr_t at) const noexcept;
  void release() noexcept;
  void swap(Tape& other) noexcept;

  // What clear and rewind must do beyond moving the head; bits of on_give_back_.
  enum : std::uint32_t { kWipe = 1, kFill = 2, kSpilled = 4, kChildren = 8 };

  // The hot line. All addresses; head, limit, floor, base and peak are multiples of 64. A tape
  // without memory has them all at 64, so that even its zero-byte take is not null.
  std::atomic<std::uintptr_t> head_{kLine};
  std::atomic<std::uintptr_t> limit_{kLine};  // committed end
  std::uintptr_t crumb_ = 0;                  // end of the last packed take; 0: no open line
  std::atomic<std::uintptr_t> floor_{kLine};
  std::uintptr_t base_ = kLine;
  std::atomic<std::uintptr_t> peak_{kLine};
  std::atomic<std::uint64_t> clears_{0};
  std::uint32_t on_give_back_ = 0;

  // The second line.
  std::uintptr_t end_ = kLine;
  std::atomic<std::uintptr_t> former_peak_{kLine};  // before the last restart_peak()
  Spilled* spilled_ = nullptr;                      // newest first
  std::unique_ptr<Cold> cold_;
};

class Tape::Mark {
  friend class Tape;
  Mark(std::uintptr_t head, std::uintptr_t crumb, std::uint64_t clears,
       const Spilled* spilled) noexcept
      : head_(head), crumb_(crumb), clears_(clears), spilled_(spilled) {}

  std::uintptr_t head_;
  std::uintptr_t crumb_;
  std::uint64_t clears_;
  const Spilled* spilled_;
};

inline Tape::Mark Tape::mark() const noexcept {
  return {head_.load(std::memory_order_relaxed), crumb_, clears_.load(std::memory_order_relaxed),
          spilled_};
}

inline void Tape::rewind(const Mark& mark) noexcept {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const std::uintptr_t floor = floor_.load(std::memory_order_relaxed);
  const bool stale = mark.clears_ != clears_.load(std::memory_order_relaxed) || mark.head_ > head ||
                     mark.head_ < floor;
  if (stale) [[unlikely]]
    return;
  // Packed takes may have gone on in the line that was open at the mark; a line that has since come
  // below the floor stays.
  const std::uintptr_t crumb = mark.head_ == floor ? 0 : mark.crumb_;
  fold_peak(head);
  if (on_give_back_ != 0) [[unlikely]]
    rewind_extras(mark.head_, crumb, mark.spilled_, head);
  internal::checking::poison(mark.head_, head - mark.head_);
  internal::checking::poison(crumb, round_up(crumb, kLine) - crumb);
  crumb_ = crumb;
  head_.store(mark.head_, std::memory_order_release);
}

inline void Tape::restart_peak() noexcept {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  fold_peak(head);
  const std::uintptr_t recent = peak_.load(std::memory_order_relaxed);
  const std::uintptr_t former = former_peak_.load(std::memory_order_relaxed);
#if defined(TAPEDECK_MUTANT_NEW_WATCH_FIRST)  // tape_interleaving_test must catch this
  peak_.store(head, std::memory_order_release);
#endif
  former_peak_.store(recent > former ? recent : former, std::memory_order_relaxed);
  // Release, after it: a reader that sees the new watch also sees what the last one saw.
  peak_.store(head, std::memory_order_release);
}

static_assert(sizeof(Tape) <= 128);

TAPEDECK_ABI_END
}  // namespace tapedeck
