// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceTape`: the bump allocator over device memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/memory/block_tape.hpp"
#include "tapedeck/memory/tape_head.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The default alignment of a take on a device, the same as that of cudaMalloc.
inline constexpr std::size_t kDeviceLine = 256;

struct DeviceTapeOptions {
  std::string name = "device tape";  ///< Shown in errors and statistics.
  DeviceBlockOptions block{};
};

/// A bump allocator over a `DeviceBlock`. It follows the contract of `Tape`, for memory that the
/// host cannot write. A take moves a head that lives on the host and makes no driver call;
/// `clear()` moves the head back. Memory that a kernel on one stream still uses may be taken again
/// for a later kernel on the *same* stream, since that kernel runs after it. For other streams and
/// for copies, see `FrameRing`.
///
/// Takes use whole lines of 256 bytes. `take` never grows the tape; `prepare` does, between two
/// passes, and bytes that are already committed keep their addresses and contents. After `seal()`
/// growth is refused, so that it cannot happen after a graph was captured.
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
class alignas(kLine) DeviceTape
    : public internal::BlockTape<kDeviceLine, DeviceBlock, DeviceTapeOptions>,
      public SpanTakes<DeviceTape, DeviceSpan, kDeviceLine> {
 public:
  /// Creates a tape without memory. Every take fails, except takes of zero bytes.
  DeviceTape() noexcept;
  /// @pre no other thread uses `other`.
  DeviceTape(DeviceTape&& other) noexcept;
  DeviceTape& operator=(DeviceTape other) noexcept {
    swap(other);  // `other` then destroys the former contents of this tape
    return *this;
  }
  ~DeviceTape();

  /// Creates a tape over plain device memory; it never grows.
  /// @pre the device outlives the tape.
  /// @throws InvalidArgument for 0 bytes; DeviceError. An error leaves nothing allocated.
  [[nodiscard]] static DeviceTape start(Device& device, std::size_t bytes,
                                        DeviceTapeOptions options = {});

  /// Creates a tape over reserved addresses (`bytes` rounded up to pages of the pool), with nothing
  /// committed.
  /// @pre the pool outlives the tape.
  /// @throws InvalidArgument; DeviceError. An error leaves nothing allocated.
  [[nodiscard]] static DeviceTape reserve(PagePool& pool, std::size_t bytes,
                                          DeviceTapeOptions options = {});

  /// Creates a tape over any block, of which it uses the whole lines. `options.block` is ignored.
  /// @throws InvalidArgument if the block does not contain a whole line.
  [[nodiscard]] static DeviceTape over(DeviceBlock block, DeviceTapeOptions options = {});

  /// Like `Tape::behind`: the first bytes are `planned` and below the floor. Takes go into `above`,
  /// which begins directly behind them or is empty.
  /// @throws InvalidArgument if `above` is not empty and begins elsewhere.
  [[nodiscard]] static DeviceTape behind(std::span<std::byte> planned, DeviceBlock above,
                                         DeviceTapeOptions options = {});

  using SpanTakes::try_take;

  /// Takes `bytes` with undefined contents at a multiple of `align`, a power of two. Returns
  /// nullptr if they are not committed. Zero bytes give an aligned non-null pointer and use no
  /// room.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kDeviceLine) noexcept {
    void* at = take_lines(bytes, align);
    if (at == nullptr) [[unlikely]]
      return take_slow(bytes, align);
    return at;
  }

  /// Releases everything above the floor. O(1); makes no driver call.
  void clear() noexcept { TapeHead::clear(); }

  using TapeHead::mark;
  /// Releases everything taken after the mark. A mark made before the last `clear()`, or below the
  /// floor, has no effect. @pre the mark is from this tape, and the tape has not been rewound to an
  /// older mark since this one was made.
  using TapeHead::rewind;
  /// Moves the floor up to the head, so that everything taken so far survives `clear()`.
  using TapeHead::raise_floor;
  /// Like `Tape::restart_peak`.
  using TapeHead::restart_peak;
  /// Like `Tape::hand_over`.
  using TapeHead::hand_over;

  /// Commits the memory for the next `bytes` of takes. Do not call it inside a pass.
  /// @throws TapeFull if the tape is too small; WrongState if it is sealed and would have to grow;
  /// DeviceError, and the tape is unchanged.
  void prepare(std::size_t bytes);
  /// Like `prepare`, but returns false instead of throwing.
  [[nodiscard]] bool try_prepare(std::size_t bytes) noexcept;

  /// Refuses growth from now on. This cannot be undone, because graphs may have been captured over
  /// the tape's memory.
  void seal() noexcept { sealed_ = true; }

  /// Returns the committed pages above the head to the pool for other uses (`PagePool::trim`
  /// releases them) and keeps the addresses. If `after` is given, it first waits for that event,
  /// after which nothing may use the pages. Returns the number of bytes given back.
  /// @throws DeviceError if waiting for the event fails; WrongState if the tape is sealed.
  std::size_t decommit(EventHandle after = nullptr);

  /// Like `Tape::take_planned`.
  using BlockTape::take_planned;
  /// Like `Tape::note_planned`. In `stat()`, `page_size` is the page size of the pool.
  using BlockTape::note_planned;

 private:
  [[nodiscard]] void* take_slow(std::size_t bytes, std::size_t align) noexcept;
  void swap(DeviceTape& other) noexcept;

  bool sealed_ = false;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
