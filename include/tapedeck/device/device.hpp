/// @file
/// `Device`: memory that kernels compute in, and the streams that order its use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"

// What the CUDA headers declare too: a CUstream, and a cudaStream_t of the engine's runtime API,
// are these pointers.
struct CUstream_st;
struct CUevent_st;

namespace tapedeck::inline TAPEDECK_ABI {

/// A stream: what is put on it runs in order. nullptr is the device's default stream.
using StreamHandle = CUstream_st*;
using EventHandle = CUevent_st*;
/// Physical memory without an address. 0 is none.
using PageHandle = std::uint64_t;

enum class DeviceKind : std::uint8_t { host, cuda };

/// What does not change while a device is open.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::host;
  unsigned ordinal = 0;
  std::string name{};     ///< "NVIDIA H200", "host".
  std::string driver{};   ///< The CUDA version the driver supports, "13.0"; "" of the host.
  std::size_t total = 0;  ///< Bytes of memory.
  /// A power of two: bytes that reservations and physical pages are multiples of.
  std::size_t granularity = 0;
  int compute_major = 0;  ///< Compute capability; 0.0 of the host.
  int compute_minor = 0;
};

/// Bytes. A moment's figures: other processes take and give device memory, too.
struct DeviceMemory {
  std::size_t free = 0;
  std::size_t total = 0;
};

/// One device's memory, streams and events: the primitives below `DeviceTape`, which is what an
/// engine works with. Addresses are the device's own; only a `HostDevice` lets the host dereference
/// them.
///
/// Addresses and pages are apart: a range is reserved once and never moves, physical pages are
/// created, and mapped into it as it grows. `map` and `unmap` are not ordered by streams: whoever
/// unmaps has waited for what still reads there.
///
/// What gives back is noexcept: a device that is gone, or a process that is ending, has nothing to
/// be told.
///
/// Thread-safety: any thread, at any time; one object must not be used while it is given back.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const std::size_t page = device.info().granularity;
/// std::byte* const at = device.reserve(4 * page);    // addresses: they cost nothing
/// const PageHandle pages = device.create_pages(page);
/// device.map(at, pages, page);                       // the first quarter can be used
/// device.fill(at, std::byte{7}, page, nullptr);
/// device.synchronize(nullptr);
/// device.unmap(at, page);
/// device.destroy_pages(pages);
/// device.unreserve(at, 4 * page);
/// @endcode
class Device {
 public:
  virtual ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] const DeviceInfo& info() const noexcept { return info_; }
  /// "NVIDIA H200 0": for errors and tables.
  [[nodiscard]] const std::string& label() const noexcept { return label_; }

  // All that are not noexcept throw DeviceOutOfMemory where there is no room, DeviceError where the
  // device refuses something else, and of a HostDevice SystemError where the kernel does.

  [[nodiscard]] virtual DeviceMemory memory() const = 0;

  /// Addresses. @pre bytes is a multiple of the granularity, and not 0.
  [[nodiscard]] virtual std::byte* reserve(std::size_t bytes) = 0;
  /// @pre all of what `reserve` gave, with nothing mapped in it.
  virtual void unreserve(std::byte* at, std::size_t bytes) noexcept = 0;

  /// Physical memory. @pre bytes is a multiple of the granularity, and not 0.
  [[nodiscard]] virtual PageHandle create_pages(std::size_t bytes) = 0;
  /// @pre they are not mapped.
  virtual void destroy_pages(PageHandle pages) noexcept = 0;

  /// Puts all of `pages` (`bytes` of them) at an address inside a reservation, for reading and
  /// writing by this device. On an error nothing is mapped. @pre nothing is mapped there.
  virtual void map(std::byte* at, PageHandle pages, std::size_t bytes) = 0;
  /// False where the driver refuses, and all stays mapped. @pre exactly what one call of `map`
  /// mapped, and nothing that was put on a stream reads it.
  virtual bool unmap(std::byte* at, std::size_t bytes) noexcept = 0;

  /// Memory at a new address, aligned to 256 bytes. @pre bytes is not 0.
  [[nodiscard]] virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void deallocate(std::byte* at) noexcept = 0;

  /// Host memory that the device copies from and to by itself. @pre bytes is not 0.
  [[nodiscard]] virtual std::byte* allocate_pinned(std::size_t bytes) = 0;
  virtual void deallocate_pinned(std::byte* at) noexcept = 0;
  /// Makes host memory that is there already such memory.
  virtual void pin(std::span<std::byte> memory) = 0;
  /// The same of memory that the host itself may only read, as a mapped file is; the device must
  /// only read it, too. Not every device can.
  virtual void pin_read_only(std::span<const std::byte> memory) = 0;
  /// @pre `at` is the first byte of what was pinned.
  virtual void unpin(const std::byte* at) noexcept = 0;

  [[nodiscard]] virtual StreamHandle create_stream() = 0;
  /// What is on it still runs.
  virtual void destroy_stream(StreamHandle stream) noexcept = 0;
  /// Waits until everything that is on the stream has run.
  virtual void synchronize(StreamHandle stream) = 0;
  /// Waits for all streams.
  virtual void synchronize() = 0;

  [[nodiscard]] virtual EventHandle create_event() = 0;
  virtual void destroy_event(EventHandle event) noexcept = 0;
  /// The event fires when what is on the stream now has run; a former record is forgotten.
  virtual void record(EventHandle event, StreamHandle stream) = 0;
  /// What is put on the stream from now on runs after the event has fired.
  virtual void wait(StreamHandle stream, EventHandle event) = 0;
  /// True also of an event that was never recorded.
  [[nodiscard]] virtual bool fired(EventHandle event) = 0;
  /// Waits, on the host, until the event has fired.
  virtual void synchronize_event(EventHandle event) = 0;

  /// Puts a copy on a stream, between any two of host, pinned and this device's memory; of host
  /// memory that is not pinned, and from host to host, it may wait. @pre the memory stays until the
  /// copy has run.
  virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes,
                    StreamHandle stream) = 0;
  /// Puts a fill of device memory on a stream.
  virtual void fill(std::byte* at, std::byte value, std::size_t bytes, StreamHandle stream) = 0;

 protected:
  explicit Device(DeviceInfo info);

 private:
  DeviceInfo info_;
  std::string label_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
