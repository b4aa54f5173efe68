/// @file
/// `HostDevice`: a device of host memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct HostDeviceOptions {
  std::size_t memory = 0;            ///< Bytes it may hold at a time; 0: what the host has.
  std::size_t granularity = 64_KiB;  ///< A power of two, at least the host's page.
  unsigned ordinal = 0;              ///< In its label.
};

/// A device in host memory: the contract of `Device` for dry runs, tests, and hosts without a GPU.
/// Its streams are asynchronous as a GPU's: each has a worker, and what is put on it runs later.
/// The host may dereference its addresses, as far as they are mapped.
///
/// A test may derive from it, to watch what is done with it or to disturb it.
///
/// Thread-safety: as `Device`.
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
  /// @throws InvalidArgument for a granularity that is no power of two, or below the host's page.
  explicit HostDevice(const HostDeviceOptions& options = {});
  /// Waits for all streams. What was not given back by then is leaked, as on a GPU.
  ~HostDevice() override;

  [[nodiscard]] DeviceMemory memory() const override;
  [[nodiscard]] std::byte* reserve(std::size_t bytes) override;
  void unreserve(std::byte* at, std::size_t bytes) noexcept override;
  [[nodiscard]] PageHandle create_pages(std::size_t bytes) override;
  void destroy_pages(PageHandle pages) noexcept override;
  void map(std::byte* at, PageHandle pages, std::size_t bytes) override;
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
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
