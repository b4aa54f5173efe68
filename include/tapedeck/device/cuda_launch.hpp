/// @file
/// `KernelModule`, `Kernel` and `CudaGraph`: launching kernels by the CUDA driver, and capturing
/// what a decode step launches. The library itself launches nothing; an engine that has no runtime
/// of its own uses these with `CudaDevice`. Of `tapedeck::cuda`; needs no header of CUDA.
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

// The driver's own types, which are pointers to these.
struct CUfunc_st;
struct CUgraphExec_st;
struct CUmod_st;

namespace tapedeck::inline TAPEDECK_ABI {

class CudaDevice;

/// Makes the primary context of a device current on this thread for as long as it lives; then the
/// context that was current before is current again. Thread-safety: the thread that made it.
class CurrentDevice {
 public:
  /// @pre the device outlives this object.
  /// @throws InvalidArgument for another device than a `CudaDevice`; DeviceError; DeviceUnavailable
  /// in a build without CUDA.
  explicit CurrentDevice(const Device& device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  /// The driver's own name for the device, a `CUdevice`.
  [[nodiscard]] int handle() const noexcept;

 private:
  const CudaDevice& device_;
};

/// How many threads run a kernel, in one dimension.
struct Grid {
  unsigned blocks;
  unsigned threads;  ///< Of each block.

  /// One thread for each of `count` elements; the last block may have more.
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

/// One kernel of a module. `Parameters` must be exactly those that the kernel has in its source:
/// the driver cannot compare them. Needs a device's context current, see `CurrentDevice`.
/// Thread-safety: a value.
template <class... Parameters>
class Kernel {
 public:
  explicit Kernel(CUfunc_st* function) noexcept : function_(function) {}

  /// Launches it on a stream. @throws DeviceError
  void launch(Grid grid, StreamHandle stream, std::type_identity_t<Parameters>... arguments) const {
    std::array<void*, sizeof...(Parameters)> pointers = {&arguments...};
    internal::launch_kernel(function_, grid, stream, pointers.data());
  }

 private:
  CUfunc_st* function_;
};

/// A module of kernels, loaded from an image (a fatbin, cubin or PTX) in memory. Needs a device's
/// context current, see `CurrentDevice`. Thread-safety: the driver's.
class KernelModule {
 public:
  /// @throws DeviceError, with advice where the driver or device is too old for the image.
  explicit KernelModule(const void* image);
  ~KernelModule();
  KernelModule(const KernelModule&) = delete;
  KernelModule& operator=(const KernelModule&) = delete;

  /// The kernel of that name, as a `Kernel` type. It must not outlive the module.
  /// @throws DeviceError if there is none.
  template <class AnyKernel>
  [[nodiscard]] AnyKernel find(const char* name) const {
    return AnyKernel(function(name));
  }

 private:
  [[nodiscard]] CUfunc_st* function(const char* name) const;

  CUmod_st* module_ = nullptr;
};

/// A graph, captured and instantiated once. It cannot be updated: everything that it was captured
/// over has to stay at its address, as the regions of a plan and the addresses of a device tape do.
/// Thread-safety: one thread at a time.
class CudaGraph {
 public:
  CudaGraph(CudaGraph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(exec_, other.exec_);
    return *this;
  }
  ~CudaGraph();

  /// Captures what `body` launches on the stream, which is not the default stream; nothing runs.
  /// Calls of other threads do not disturb it.
  /// @throws DeviceError; what `body` throws, and the capture is abandoned.
  [[nodiscard]] static CudaGraph capture(StreamHandle stream, const std::function<void()>& body);

  /// Launches everything that was captured. @throws DeviceError
  void launch(StreamHandle stream) const;

 private:
  explicit CudaGraph(CUgraphExec_st* exec) noexcept : exec_(exec) {}

  CUgraphExec_st* exec_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
