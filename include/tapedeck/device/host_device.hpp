// SPDX-License-Identifier: Apache-2.0
/// @file
/// `HostDevice`: a device simulated in host memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct HostDeviceOptions {
  std::size_t memory = 0;            ///< Most bytes it may hold; 0: what the host has available.
  std::size_t granularity = 64_KiB;  ///< A power of two, at least the host's page size.
  unsigned ordinal = 0;              ///< The ordinal in its label.
};

/// Implements the contract of `Device` in host memory, for dry runs, tests, and hosts without a
/// GPU. Its streams are asynchronous like those of a GPU: each has a worker thread, which runs the
/// work later. The host may dereference its addresses if they are mapped.
///
/// Tests may derive from it to observe calls or to inject faults.
///
/// Thread-safety: as `Device`. A forked child lacks the worker threads: there, work on a stream
/// throws WrongState (`forked`), and destructors do not wait.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device({.memory = 64_MiB});
/// const DeviceStream stream(device);
/// std::byte* const at = device.allocate(1_MiB);
/// device.fill(at, std::byte{7}, 1_MiB, stream.handle());
/// stream.synchronize();
/// assert(at[0] == std::byte{7} && device.memory().free == 63_MiB);
/// device.deallocate(at);
/// @endcode
class HostDevice : public Device {
 public:
  /// @throws InvalidArgument for a granularity that is not a power of two or is below the host's
  /// page size; SystemError.
  explicit HostDevice(const HostDeviceOptions& options = {});
  /// Waits for all streams. Reservations that were not released are leaked, as on a GPU.
  ~HostDevice() override;

  [[nodiscard]] DeviceMemory memory() const override;
  [[nodiscard]] std::byte* reserve(std::size_t bytes) override;
  void unreserve(std::byte* at, std::size_t bytes) noexcept override;
  [[nodiscard]] PageHandle create_pages(std::size_t bytes) override;
  void destroy_pages(PageHandle pages) noexcept override;
  void map_run(std::byte* at, std::span<const PageHandle> pages, std::size_t bytes_each) override;
  bool unmap(std::byte* at, std::size_t bytes) noexcept override;
  [[nodiscard]] std::byte* allocate(std::size_t bytes) override;
  void deallocate(std::byte* at) noexcept override;
  [[nodiscard]] std::byte* allocate_pinned(std::size_t bytes) override;
  void deallocate_pinned(std::byte* at) noexcept override;
  void pin(std::span<std::byte> memory) override;
  void pin_read_only(std::span<const std::byte> memory) override;
  void unpin(const std::byte* at) noexcept override;
  [[nodiscard]] StreamHandle create_stream() override;
  void destroy_stream(StreamHandle stream) noexcept override;
  void synchronize(StreamHandle stream) override;
  void synchronize() override;
  [[nodiscard]] EventHandle create_event() override;
  void destroy_event(EventHandle event) noexcept override;
  void record(EventHandle event, StreamHandle stream) override;
  void wait(StreamHandle stream, EventHandle event) override;
  [[nodiscard]] bool fired(EventHandle event) override;
  void synchronize_event(EventHandle event) override;
  void copy(std::byte* to, const std::byte* from, std::size_t bytes, StreamHandle stream) override;
  void fill(std::byte* at, std::byte value, std::size_t bytes, StreamHandle stream) override;

 private:
  struct State;

  void map_page(std::byte* at, PageHandle pages, std::size_t bytes);

  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
