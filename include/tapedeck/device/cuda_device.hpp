/// @file
/// `CudaDevice`: a GPU, by the CUDA driver.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Whether there are GPUs here, and if not, why. Thread-safety: a value.
struct CudaSupport {
  unsigned devices = 0;
  std::string driver{};  ///< The CUDA version that the driver supports: "13.0"; "" without one.
  std::string why{};     ///< Why there are none, and what to do: for people. Empty where there are.
};

/// A GPU. Every entry point is looked up at run time in `libcuda.so.1`, by its versioned name: one
/// program runs with and without a GPU, and links no CUDA library. Drivers from CUDA 12.0 on serve.
///
/// It uses the device's **primary context**, which is the one of the runtime API too: memory,
/// streams (`cudaStream_t`) and events of the engine's own CUDA code and of this library may be
/// mixed. A call makes that context current for its own duration.
///
/// Of target `tapedeck::cuda`. Built without the CUDA toolkit, it says so.
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
  /// The least CUDA version of a driver, major * 1000 + minor * 10.
  static constexpr int kLeastDriver = 12000;

  /// Looks for a driver and its devices. Never throws for there being none.
  [[nodiscard]] static CudaSupport support();

  /// @throws DeviceUnavailable where there is no such device, no driver, one older than
  /// `kLeastDriver`, a device without virtual memory, or a build without the CUDA toolkit;
  /// DeviceError.
  explicit CudaDevice(unsigned ordinal = 0);
  /// Releases the primary context, which lives on where others use it.
  ~CudaDevice() override;

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
  friend class CurrentDevice;
  struct State;
  explicit CudaDevice(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
