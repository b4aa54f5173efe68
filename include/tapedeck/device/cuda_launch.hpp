// SPDX-License-Identifier: Apache-2.0
/// @file
/// `KernelModule`, `Kernel` and `CudaGraph`: launching kernels through the CUDA driver, and
/// capturing the launches of a decode step. The library itself launches nothing. An engine without
/// a CUDA runtime uses these classes with `CudaDevice`. They are in target `tapedeck::cuda` and
/// need no CUDA headers.
/// @code{.cpp}
/// // compile only
/// using namespace tapedeck;
/// const void* const fatbin = nullptr;  // the image that your build puts into the program
/// CudaDevice device(0);
/// const CurrentDevice current(device);
/// const KernelModule module(fatbin);
/// const auto scale = module.find<Kernel<float*, float, std::size_t>>("scale");
/// const DeviceStream stream(device);
/// const DeviceTape scratch = DeviceTape::start(device, 1_MiB);
/// auto* const data = reinterpret_cast<float*>(scratch.data());
/// const CudaGraph step = CudaGraph::capture(stream.handle(), [&] {
///   scale.launch(Grid::over(1000), stream.handle(), data, 0.5F, std::size_t{1000});
/// });
/// step.launch(stream.handle());  // every token
/// @endcode
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

// The driver's handle types are pointers to these.
struct CUfunc_st;
struct CUgraphExec_st;
struct CUmod_st;

namespace tapedeck::inline TAPEDECK_ABI {

class CudaDevice;

/// Makes the primary context of a device current on this thread for its lifetime, and then restores
/// the context that was current before. Thread-safety: only the thread that created it.
class CurrentDevice {
 public:
  /// @pre the device outlives this object.
  /// @throws InvalidArgument if the device is not a `CudaDevice`; DeviceError; DeviceUnavailable in
  /// a build without CUDA.
  explicit CurrentDevice(const Device& device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  /// The driver's handle of the device, a `CUdevice`.
  [[nodiscard]] int handle() const noexcept;

 private:
  const CudaDevice& device_;
};

/// The one-dimensional launch size of a kernel.
struct Grid {
  unsigned blocks;
  unsigned threads;  ///< Threads per block.

  /// One thread for each of `count` elements, rounded up to whole blocks.
  [[nodiscard]] static constexpr Grid over(std::size_t count) noexcept {
    constexpr std::size_t kThreads = 256;
    return {static_cast<unsigned>((count + kThreads - 1) / kThreads),
            static_cast<unsigned>(kThreads)};
  }
};

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// @throws DeviceError
void launch_kernel(CUfunc_st* function, Grid grid, StreamHandle stream, void** arguments);

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// One kernel of a module. `Parameters` must be exactly the parameter types in the kernel's source,
/// because the driver cannot check them. A device's context must be current; see `CurrentDevice`.
/// Thread-safety: a value.
template <class... Parameters>
class Kernel {
 public:
  explicit Kernel(CUfunc_st* function) noexcept : function_(function) {}

  /// Launches the kernel on a stream. @throws DeviceError
  void launch(Grid grid, StreamHandle stream, std::type_identity_t<Parameters>... arguments) const {
    std::array<void*, sizeof...(Parameters)> pointers = {&arguments...};
    internal::launch_kernel(function_, grid, stream, pointers.data());
  }

 private:
  CUfunc_st* function_;
};

/// A module of kernels, loaded from an image (a fatbin, cubin or PTX) in memory. A device's context
/// must be current; see `CurrentDevice`. Thread-safety: that of the driver.
class KernelModule {
 public:
  /// @throws DeviceError, with advice if the driver or device is too old for the image.
  explicit KernelModule(const void* image);
  ~KernelModule();
  KernelModule(const KernelModule&) = delete;
  KernelModule& operator=(const KernelModule&) = delete;

  /// Finds a kernel by name and returns it as a `Kernel` type. It must not outlive the module.
  /// @throws DeviceError if the module has no kernel of that name.
  template <class AnyKernel>
  [[nodiscard]] AnyKernel find(const char* name) const {
    return AnyKernel(function(name));
  }

 private:
  [[nodiscard]] CUfunc_st* function(const char* name) const;

  CUmod_st* module_ = nullptr;
};

/// A graph that is captured and instantiated once. It cannot be updated: all memory that the
/// captured work uses must keep its address, as regions of a plan and addresses on a device tape
/// do. Thread-safety: one thread at a time.
class CudaGraph {
 public:
  CudaGraph(CudaGraph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(exec_, other.exec_);
    return *this;
  }
  ~CudaGraph();

  /// Captures what `body` launches on the stream; nothing runs. Calls from other threads do not
  /// affect the capture.
  /// @pre `stream` is not the default stream.
  /// @throws DeviceError; whatever `body` throws, after the capture is abandoned.
  [[nodiscard]] static CudaGraph capture(StreamHandle stream, const std::function<void()>& body);

  /// Launches the captured work on a stream. @throws DeviceError
  void launch(StreamHandle stream) const;

 private:
  explicit CudaGraph(CUgraphExec_st* exec) noexcept : exec_(exec) {}

  CUgraphExec_st* exec_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
