// SPDX-License-Identifier: Apache-2.0
/// @file
/// `CudaDevice`: a GPU, accessed through the CUDA driver.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Whether this machine has GPUs, and if not, why. Thread-safety: a value.
struct CudaSupport {
  unsigned devices = 0;
  std::string
      driver{};       ///< The CUDA version that the driver supports: "13.0"; "" without a driver.
  std::string why{};  ///< For people: why there is no device, and what to do. Empty if there is.
};

/// A GPU. Every entry point is looked up at run time in `libcuda.so.1` by its versioned name, so
/// the same program runs with and without a GPU and links no CUDA library. Requires a driver for
/// CUDA 12.0 or later.
///
/// It uses the device's **primary context**, which the runtime API also uses. Memory, streams
/// (`cudaStream_t`) and events of the engine's own CUDA code and of this library may therefore be
/// mixed. Each call makes that context current while it runs.
///
/// The class is in target `tapedeck::cuda`. In a build without the CUDA toolkit, the constructor
/// throws DeviceUnavailable and `support()` reports the reason.
///
/// Thread-safety: as `Device`.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// const CudaSupport support = CudaDevice::support();
/// if (support.devices == 0) {
///   std::puts(support.why.c_str());
///   return 0;
/// }
/// CudaDevice gpu(0);
/// std::printf("%s: %s free\n", gpu.label().c_str(), to_iec(gpu.memory().free).c_str());
/// @endcode
class CudaDevice final : public Device {
 public:
  /// The minimum CUDA version of a driver, as major * 1000 + minor * 10.
  static constexpr int kLeastDriver = 12000;

  /// Looks for a driver and its devices. It does not throw if there are none.
  [[nodiscard]] static CudaSupport support();

  /// @throws DeviceUnavailable if there is no such device, no driver, a driver older than
  /// `kLeastDriver`, a device without virtual memory management, or no CUDA toolkit in this build;
  /// DeviceError.
  explicit CudaDevice(unsigned ordinal = 0);
  /// Releases the primary context, which stays alive as long as other code uses it.
  ~CudaDevice() override;

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
  friend class CurrentDevice;
  struct State;
  explicit CudaDevice(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
