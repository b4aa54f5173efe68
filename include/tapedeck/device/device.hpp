// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Device`: memory that kernels work on, and the streams that order its use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"

// The CUDA headers declare these types too. CUstream, and cudaStream_t of the runtime API, are
// pointers to the first of them.
struct CUstream_st;
struct CUevent_st;

namespace tapedeck::inline TAPEDECK_ABI {

/// A stream; operations on it run in order. nullptr is the device's default stream.
using StreamHandle = CUstream_st*;
using EventHandle = CUevent_st*;
/// Physical memory without an address. 0 means none.
using PageHandle = std::uint64_t;

enum class DeviceKind : std::uint8_t { host, cuda };

/// Properties that do not change while a device is open.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::host;
  unsigned ordinal = 0;
  std::string name{};     ///< "NVIDIA H200", "simulated device".
  std::string driver{};   ///< The CUDA version that the driver supports: "13.0"; "" for the host.
  std::size_t total = 0;  ///< Bytes of memory.
  /// Reservations and physical pages are multiples of this number of bytes, a power of two.
  std::size_t granularity = 0;
  int compute_major = 0;  ///< Major compute capability; 0 for the host.
  int compute_minor = 0;  ///< Minor compute capability; 0 for the host.
  /// Whether its memory is the host's, as with an integrated GPU or a `HostDevice`.
  bool integrated = false;
};

/// Memory of a device in bytes. A snapshot: other processes also allocate and free device memory.
struct DeviceMemory {
  std::size_t free = 0;
  std::size_t total = 0;
};

/// The memory, streams and events of one device. These are the primitives of `DeviceTape`, which is
/// the class that an engine works with. Addresses are device addresses; the host may dereference
/// only those of a `HostDevice`.
///
/// Addresses and pages are separate: a range of addresses is reserved once and never moves;
/// physical pages are created and mapped into it as it grows. `map` and `unmap` are not ordered by
/// streams, so the caller must wait for work that still uses a range before unmapping it.
///
/// Release functions are noexcept, because errors cannot be handled when the device is lost or the
/// process is exiting.
///
/// Thread-safety: any thread, at any time, except that a resource must not be used while it is
/// being released.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// const std::size_t page = device.info().granularity;
/// std::byte* const at = device.reserve(4 * page);    // addresses: they cost nothing
/// const PageHandle pages = device.create_pages(page);
/// device.map(at, pages, page);                       // the first quarter is now usable
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
  /// Name and ordinal, for errors and tables: "NVIDIA H200 0".
  [[nodiscard]] const std::string& label() const noexcept { return label_; }

  // All functions that are not noexcept throw DeviceOutOfMemory if there is no room and DeviceError
  // if the device refuses for another reason. Those of a HostDevice throw SystemError if the kernel
  // refuses.

  [[nodiscard]] virtual DeviceMemory memory() const = 0;

  /// Reserves addresses. @pre bytes is a multiple of the granularity, and not 0.
  [[nodiscard]] virtual std::byte* reserve(std::size_t bytes) = 0;
  /// Releases addresses. @pre the range is all of what `reserve` returned, and nothing is mapped
  /// in it.
  virtual void unreserve(std::byte* at, std::size_t bytes) noexcept = 0;

  /// Creates physical memory. @pre bytes is a multiple of the granularity, and not 0.
  [[nodiscard]] virtual PageHandle create_pages(std::size_t bytes) = 0;
  /// @pre the pages are not mapped.
  virtual void destroy_pages(PageHandle pages) noexcept = 0;

  /// Maps all of `pages`, which have `bytes`, at an address inside a reservation, for reading and
  /// writing by this device. On an error nothing is mapped. @pre nothing is mapped there.
  void map(std::byte* at, PageHandle pages, std::size_t bytes) { map_run(at, {&pages, 1}, bytes); }
  /// Maps several pages of `bytes_each` one behind the other, as `map` does for one, but makes the
  /// run accessible as a whole, which takes one driver call.
  virtual void map_run(std::byte* at, std::span<const PageHandle> pages,
                       std::size_t bytes_each) = 0;
  /// Returns false if the driver refuses; then the whole range stays mapped. @pre the range is
  /// exactly that of one element of `map` or `map_run`, and no work on a stream uses it any more.
  virtual bool unmap(std::byte* at, std::size_t bytes) noexcept = 0;

  /// Allocates device memory at a new address, aligned to 256 bytes. @pre bytes is not 0.
  [[nodiscard]] virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void deallocate(std::byte* at) noexcept = 0;

  /// Allocates pinned host memory, which the device can access directly for asynchronous copies.
  /// @pre bytes is not 0. @throws also OutOfMemory if the host or the memory cgroup has no room.
  [[nodiscard]] virtual std::byte* allocate_pinned(std::size_t bytes) = 0;
  virtual void deallocate_pinned(std::byte* at) noexcept = 0;
  /// Pins existing host memory.
  virtual void pin(std::span<std::byte> memory) = 0;
  /// Pins host memory that the host may only read, such as a mapped file. The device must only read
  /// it, too. Not every device supports this.
  virtual void pin_read_only(std::span<const std::byte> memory) = 0;
  /// @pre `at` is the first byte of a range that was pinned.
  virtual void unpin(const std::byte* at) noexcept = 0;

  [[nodiscard]] virtual StreamHandle create_stream() = 0;
  /// Work that is already on the stream still runs.
  virtual void destroy_stream(StreamHandle stream) noexcept = 0;
  /// Waits until all work on the stream has run.
  virtual void synchronize(StreamHandle stream) = 0;
  /// Waits until all work on all streams has run.
  virtual void synchronize() = 0;

  [[nodiscard]] virtual EventHandle create_event() = 0;
  virtual void destroy_event(EventHandle event) noexcept = 0;
  /// Makes the event fire when the work that is on the stream now has run. An earlier record of the
  /// event is forgotten.
  virtual void record(EventHandle event, StreamHandle stream) = 0;
  /// Makes later work on the stream wait until the event has fired.
  virtual void wait(StreamHandle stream, EventHandle event) = 0;
  /// Whether the event has fired; also true if it was never recorded.
  [[nodiscard]] virtual bool fired(EventHandle event) = 0;
  /// Blocks the host thread until the event has fired.
  virtual void synchronize_event(EventHandle event) = 0;

  /// Enqueues a copy on a stream, between any two of host memory, pinned memory and memory of this
  /// device. A copy of host memory that is not pinned, or from host to host, may block.
  /// @pre both ranges stay valid until the copy has run.
  virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes,
                    StreamHandle stream) = 0;
  /// Enqueues a fill of device memory on a stream.
  virtual void fill(std::byte* at, std::byte value, std::size_t bytes, StreamHandle stream) = 0;

 protected:
  explicit Device(DeviceInfo info);

 private:
  DeviceInfo info_;
  std::string label_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
