/// @file
/// `DeviceTape`: the bump allocator, over device memory.
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
/// Takes are whole lines of 256 bytes. `take` never grows the tape: `prepare` does, between two
/// passes, and the bytes before keep their addresses and contents. After `seal()` growth is
/// refused, so that it cannot happen behind a captured graph.
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
  /// A tape without memory: every take but that of zero bytes fails.
  DeviceTape() noexcept;
  /// Moving needs the tape quiet.
  DeviceTape(DeviceTape&& other) noexcept;
  DeviceTape& operator=(DeviceTape other) noexcept {
    swap(other);  // which then ends with what this tape had
    return *this;
  }
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

  using SpanTakes::try_take;

  /// `bytes` with undefined contents at a multiple of `align`, a power of two; nullptr where they
  /// are not committed. Zero bytes: an aligned pointer that is not null and takes no room.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kDeviceLine) noexcept {
    void* at = take_lines(bytes, align);
    if (at == nullptr) [[unlikely]]
      return take_slow(bytes, align);
    return at;
  }

  /// Gives back everything above the floor. O(1), no call of the driver.
  void clear() noexcept { TapeHead::clear(); }

  using TapeHead::mark;
  /// Gives back everything taken after the mark. A mark made before the last `clear()`, or below
  /// the floor, does nothing. @pre as `Tape::rewind`.
  using TapeHead::rewind;
  /// What is taken now stays through every clear.
  using TapeHead::raise_floor;
  /// As `Tape::restart_peak`.
  using TapeHead::restart_peak;
  /// As `Tape::hand_over`.
  using TapeHead::hand_over;

  /// Commits what the next `bytes` of takes need. Not inside a pass.
  /// @throws TapeFull if the tape is too small; WrongState if it is sealed; DeviceError, and the
  /// tape is as it was.
  void prepare(std::size_t bytes);
  /// As `prepare`; false instead of an error.
  [[nodiscard]] bool try_prepare(std::size_t bytes) noexcept;

  /// From now on growth is refused. For good: graphs may have been captured over what is there.
  void seal() noexcept { sealed_ = true; }

  /// Gives the committed pages above the head back to the pool, for others to use (`trim` of the
  /// pool releases them), and keeps the addresses. Waits for `after`, where one is given: the event
  /// after which nothing reads them. Returns bytes.
  /// @throws DeviceError of the event; WrongState if the tape is sealed.
  std::size_t decommit(EventHandle after = nullptr);

  /// As `Tape::note_planned`. In `stat()`, `page_size` is the pool's page.
  using BlockTape::note_planned;

 private:
  [[nodiscard]] void* take_slow(std::size_t bytes, std::size_t align) noexcept;
  void swap(DeviceTape& other) noexcept;

  bool sealed_ = false;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
