/// @file
/// Kernels and graphs by the CUDA driver, for the programs of this tree that have some: the library
/// itself launches nothing. What is here needs a device's context current: see `CurrentDevice`.
#pragma once

#include <cuda.h>

#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/on_failure.hpp"
#include "device/cuda_context.hpp"
#include "device/cuda_driver.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

/// The entry points of kernels, graphs and stream-ordered memory. As `CudaDriver`.
class LaunchDriver {
 public:
  explicit LaunchDriver(void* library) : library_(library) {}

 private:
  void* library_;

  template <class... Parameters>
  using Entry = internal::EntryPoint<Parameters...>;
  using Size = std::size_t;

 public:
  Entry<CUmodule*, const void*> module_load_data{library_, "cuModuleLoadData"};
  Entry<CUmodule> module_unload{library_, "cuModuleUnload"};
  Entry<CUfunction*, CUmodule, const char*> module_get_function{library_, "cuModuleGetFunction"};
  Entry<CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
        void**, void**>
      launch_kernel{library_, "cuLaunchKernel"};
  Entry<CUstream, CUhostFn, void*> launch_host_func{library_, "cuLaunchHostFunc"};

  Entry<CUstream, CUstreamCaptureMode> stream_begin_capture{library_, "cuStreamBeginCapture_v2"};
  Entry<CUstream, CUgraph*> stream_end_capture{library_, "cuStreamEndCapture"};
  Entry<CUgraphExec*, CUgraph, unsigned long long> graph_instantiate{library_,
                                                                     "cuGraphInstantiateWithFlags"};
  Entry<CUgraphExec, CUstream> graph_launch{library_, "cuGraphLaunch"};
  Entry<CUgraphExec> graph_exec_destroy{library_, "cuGraphExecDestroy"};
  Entry<CUgraph> graph_destroy{library_, "cuGraphDestroy"};

  Entry<CUdeviceptr*, Size, CUstream> mem_alloc_async{library_, "cuMemAllocAsync"};
  Entry<CUdeviceptr, CUstream> mem_free_async{library_, "cuMemFreeAsync"};
  Entry<CUmemoryPool*, CUdevice> device_get_default_mem_pool{library_, "cuDeviceGetDefaultMemPool"};
  Entry<CUmemoryPool, CUmemPool_attribute, void*> mem_pool_set_attribute{library_,
                                                                         "cuMemPoolSetAttribute"};
  Entry<CUmemoryPool, Size> mem_pool_trim_to{library_, "cuMemPoolTrimTo"};
  Entry<float*, CUevent, CUevent> event_elapsed_time{library_, "cuEventElapsedTime"};
};

/// Of the driver that `cuda_driver` gives. @throws DeviceUnavailable
[[nodiscard]] const LaunchDriver& launch_driver();

/// @throws DeviceError unless the call succeeded.
void check_cuda(CUresult result, const char* call);

/// Calls an entry point. @throws DeviceError
template <class... Parameters>
void call_cuda(const internal::EntryPoint<Parameters...>& entry,
               std::type_identity_t<Parameters>... arguments) {
  check_cuda(entry(arguments...), entry.name());
}

/// Makes the primary context of a device current on this thread, as long as it lives.
class CurrentDevice {
 public:
  /// @pre it is a `CudaDevice`. @throws DeviceError; so below.
  explicit CurrentDevice(const Device& device);

  /// The driver's own name for the device.
  [[nodiscard]] CUdevice handle() const noexcept { return handle_; }

 private:
  CUdevice handle_ = 0;
  internal::PrimaryContext context_;
  std::optional<internal::Current> current_;
};

/// How many threads run a kernel, in one dimension.
struct Grid {
  unsigned blocks;
  unsigned threads;  ///< Of each block.

  /// A thread for each of `count`, and some more in the last block.
  [[nodiscard]] static Grid over(std::size_t count) noexcept {
    constexpr std::size_t kThreads = 256;
    return {static_cast<unsigned>((count + kThreads - 1) / kThreads),
            static_cast<unsigned>(kThreads)};
  }
};

/// One kernel of a module, and what it is called with: exactly the parameters it has in its source,
/// since nobody compares them. Thread-safety: a value.
template <class... Parameters>
class Kernel {
 public:
  explicit Kernel(CUfunction function) noexcept : function_(function) {}

  /// Puts it on a stream.
  void launch(Grid grid, StreamHandle stream, std::type_identity_t<Parameters>... arguments) const {
    std::array<void*, sizeof...(Parameters)> pointers = {&arguments...};
    call_cuda(launch_driver().launch_kernel, function_, grid.blocks, 1U, 1U, grid.threads, 1U, 1U,
              0U, stream, pointers.data(), nullptr);
  }

 private:
  CUfunction function_;
};

/// Kernels that `tapedeck_add_kernels` put into this program, loaded. Thread-safety: the driver's.
class KernelModule {
 public:
  explicit KernelModule(const void* image);
  ~KernelModule();
  KernelModule(const KernelModule&) = delete;
  KernelModule& operator=(const KernelModule&) = delete;

  /// As `Found`, a `Kernel`, which must not outlive the module.
  template <class Found>
  [[nodiscard]] Found find(const char* name) const {
    return Found(function(name));
  }

 private:
  [[nodiscard]] CUfunction function(const char* name) const;

  CUmodule module_ = nullptr;
};

/// A graph, captured and instantiated once. There is no way to update it: what it was captured over
/// has to stay where it is. Thread-safety: one thread at a time.
class CudaGraph {
 public:
  CudaGraph(CudaGraph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(exec_, other.exec_);
    return *this;
  }
  ~CudaGraph();

  /// What `body` puts on the stream, which is not the default one; it does not run. Calls of other
  /// threads do not disturb it.
  template <class Body>
  [[nodiscard]] static CudaGraph capture(StreamHandle stream, const Body& body) {
    begin(stream);
    internal::OnFailure abandon([stream] { discard(stream); });
    body();
    abandon.completed();
    return end(stream);
  }

  /// Puts all of it on a stream.
  void launch(StreamHandle stream) const;

 private:
  explicit CudaGraph(CUgraphExec exec) noexcept : exec_(exec) {}
  static void begin(StreamHandle stream);
  static CudaGraph end(StreamHandle stream);
  static void discard(StreamHandle stream) noexcept;

  CUgraphExec exec_;
};

TAPEDECK_ABI_END
}  // namespace tapedeck
