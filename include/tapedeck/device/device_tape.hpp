/// @file
/// `DeviceTape`: the bump allocator, over device memory.
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
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_stat.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

/// The default alignment of a take on a device: what cudaMalloc guarantees.
inline constexpr std::size_t kDeviceLine = 256;

struct DeviceTapeOptions {
  std::string name = "device tape";  ///< Shown in errors and statistics.
  DeviceBlockOptions block{};
};

/// A bump allocator over a `DeviceBlock`: the contract of `Tape`, for memory that the host cannot
/// write. A take moves a head that lives on the host, and makes no call of the driver; `clear()`
/// moves it back. What a kernel of one stream still uses may be taken again for a later kernel of
/// the *same* stream, which runs behind it; for other streams and copies see `FrameRing`.
///
/// Takes are whole lines of 256 bytes. `take` never grows the tape: `prepare` and `grow_to` do,
/// between two passes, and the bytes before keep their addresses and contents. After `seal()`
/// growth is refused, so that it cannot happen behind a captured graph.
///
/// Thread-safety: as `Tape`.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// PagePool pool(device);
/// DeviceTape scratch = DeviceTape::reserve(pool, 1_GiB, {.name = "scratch"});
/// scratch.prepare(4_MiB);                                  // between passes: maps pages
/// const DeviceSpan<float> hidden = scratch.take<float>(4096);
/// assert(scratch.used() == 16_KiB && scratch.try_take(1_GiB) == nullptr);
/// scratch.clear();
/// scratch.seal();
/// assert(scratch.committed() == 4_MiB && hidden.size() == 4096);
/// @endcode
class alignas(kLine) DeviceTape : public SpanTakes<DeviceTape, DeviceSpan, kDeviceLine> {
 public:
  /// A place on the tape, to go back to.
  class Mark;

  /// A tape without memory: every take but that of zero bytes fails.
  DeviceTape() noexcept;
  /// Moving needs the tape quiet.
  DeviceTape(DeviceTape&& other) noexcept;
  DeviceTape& operator=(DeviceTape&& other) noexcept;
  ~DeviceTape();

  /// A tape over plain memory of a device, which outlives it; it never grows.
  /// @throws InvalidArgument for 0 bytes; DeviceError. Nothing is left behind; so below.
  [[nodiscard]] static DeviceTape start(Device& device, std::size_t bytes,
                                        DeviceTapeOptions options = {});

  /// A tape over reserved addresses (`bytes` rounded up to pages of the pool), with nothing
  /// committed. @throws InvalidArgument; DeviceError.
  [[nodiscard]] static DeviceTape reserve(PagePool& pool, std::size_t bytes,
                                          DeviceTapeOptions options = {});

  /// A tape over any block; the whole lines inside are used. `options.block` is not looked at.
  /// @throws InvalidArgument if it has no whole line.
  [[nodiscard]] static DeviceTape over(DeviceBlock block, DeviceTapeOptions options = {});

  /// As `Tape::behind`: the first bytes are `planned` and lie below the floor; takes go into
  /// `above`, which begins right behind them, or is empty.
  [[nodiscard]] static DeviceTape behind(std::span<std::byte> planned, DeviceBlock above,
                                         DeviceTapeOptions options = {});

  using SpanTakes::take;
  using SpanTakes::try_take;

  /// `bytes` with undefined contents at a multiple of `align`, a power of two; nullptr where they
  /// are not committed. Zero bytes: an aligned pointer that is not null and takes no room.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kDeviceLine) noexcept {
    assert(std::has_single_bit(align));
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    if (align > kDeviceLine && (head & (align - 1)) != 0) [[unlikely]]
      return take_aligned(bytes, align);
    const std::uintptr_t lines = round_up(bytes, kDeviceLine);
    std::uintptr_t next = 0;
    if (lines < bytes || __builtin_add_overflow(head, lines, &next) ||
        next > limit_.load(std::memory_order_relaxed)) [[unlikely]] {
      return refuse();
    }
    head_.store(next, std::memory_order_relaxed);
    return reinterpret_cast<void*>(head);
  }

  /// As `try_take`. @throws TapeFull.
  [[nodiscard]] void* take(std::size_t bytes, std::size_t align = kDeviceLine) {
    void* at = try_take(bytes, align);
    if (at == nullptr) [[unlikely]]
      throw_full(bytes);
    return at;
  }

  /// Gives back everything above the floor. O(1), no call of the driver.
  void clear() noexcept {
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    fold_peak(head);
    // Release, after the peak: a reader that sees the lower head also sees the peak it left.
    head_.store(floor_.load(std::memory_order_relaxed), std::memory_order_release);
    clears_.store(clears_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  [[nodiscard]] Mark mark() const noexcept;

  /// Gives back everything taken after the mark. A mark made before the last `clear()`, or below
  /// the floor, does nothing. @pre as `Tape::rewind`.
  void rewind(const Mark& mark) noexcept;

  /// What is taken now stays through every clear.
  void raise_floor() noexcept;

  /// Commits what the next `bytes` of takes need. Not inside a pass.
  /// @throws TapeFull if the tape is too small; InvalidArgument if it is sealed; DeviceError, and
  /// the tape is as it was.
  void prepare(std::size_t bytes);
  /// Commits the first `bytes` of the tape, its planned part too. As `prepare`.
  void grow_to(std::size_t bytes);

  /// From now on growth is refused. For good: graphs may have been captured over what is there.
  void seal() noexcept { sealed_ = true; }
  [[nodiscard]] bool sealed() const noexcept { return sealed_; }

  /// Gives the committed pages above the head back to the pool, for others to use (its own `trim`
  /// releases them), and keeps the addresses. Waits for `after`, where one is given: the event
  /// after which nothing reads them. Returns bytes.
  /// @throws DeviceError of the event; InvalidArgument if the tape is sealed.
  std::size_t trim(EventHandle after = nullptr);

  [[nodiscard]] std::size_t used() const noexcept {  ///< Bytes taken.
    return head_.load(std::memory_order_acquire) - base_;
  }
  [[nodiscard]] std::size_t total() const noexcept { return end_ - base_; }  ///< Bytes reserved.
  [[nodiscard]] std::size_t free() const noexcept { return total() - used(); }
  [[nodiscard]] std::size_t floor() const noexcept {  ///< Bytes below the floor.
    return floor_.load(std::memory_order_relaxed) - base_;
  }
  [[nodiscard]] std::size_t committed() const noexcept;  ///< Bytes usable without growth.
  [[nodiscard]] std::size_t peak() const noexcept {      ///< The most bytes that were ever used.
    const std::size_t recent = recent_peak();
    const std::size_t former = former_peak_.load(std::memory_order_relaxed) - base_;
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
  /// True for an address on this tape, taken or not.
  [[nodiscard]] bool owns(const void* address) const noexcept {
    return reinterpret_cast<std::uintptr_t>(address) - base_ < end_ - base_;
  }

  [[nodiscard]] const std::string& name() const noexcept;
  /// All figures at once: no call of the driver, no lock. `page_size` is the pool's page.
  [[nodiscard]] TapeStat stat() const noexcept;
  [[nodiscard]] const DeviceBlock& block() const noexcept;
  /// The first byte: a region of a plan lies at its offset from here.
  [[nodiscard]] std::byte* data() const noexcept { return reinterpret_cast<std::byte*>(base_); }
  /// As `Tape::note_planned`.
  void note_planned(std::size_t committed, bool grew) noexcept;

 private:
  struct Cold;

  void fold_peak(std::uintptr_t head) noexcept {
    if (head > peak_.load(std::memory_order_relaxed)) {
      peak_.store(head, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] void* take_aligned(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] void* refuse() noexcept;
  [[noreturn]] void throw_full(std::size_t bytes) const;
  void commit_to(std::uintptr_t end);
  void note_commit() noexcept;
  void swap(DeviceTape& other) noexcept;

  // All addresses; multiples of 256. A tape without memory has them all at 256.
  std::atomic<std::uintptr_t> head_{kDeviceLine};
  std::atomic<std::uintptr_t> limit_{kDeviceLine};  // committed end
  std::atomic<std::uintptr_t> floor_{kDeviceLine};
  std::uintptr_t base_ = kDeviceLine;
  std::atomic<std::uintptr_t> peak_{kDeviceLine};
  std::atomic<std::uintptr_t> former_peak_{kDeviceLine};  // before the last restart_peak()
  std::atomic<std::uint64_t> clears_{0};
  std::uintptr_t end_ = kDeviceLine;
  bool sealed_ = false;
  std::unique_ptr<Cold> cold_;
};

class DeviceTape::Mark {
  friend class DeviceTape;
  Mark(std::uintptr_t head, std::uint64_t clears) noexcept : head_(head), clears_(clears) {}

  std::uintptr_t head_;
  std::uint64_t clears_;
};

inline DeviceTape::Mark DeviceTape::mark() const noexcept {
  return {head_.load(std::memory_order_relaxed), clears_.load(std::memory_order_relaxed)};
}

inline void DeviceTape::rewind(const Mark& mark) noexcept {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const bool stale = mark.clears_ != clears_.load(std::memory_order_relaxed) || mark.head_ > head ||
                     mark.head_ < floor_.load(std::memory_order_relaxed);
  if (stale) [[unlikely]]
    return;
  fold_peak(head);
  head_.store(mark.head_, std::memory_order_release);
}

inline void DeviceTape::restart_peak() noexcept {
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

TAPEDECK_ABI_END
}  // namespace tapedeck
