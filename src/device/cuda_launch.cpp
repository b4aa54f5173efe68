// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/cuda_launch.hpp"

#include "base/on_failure.hpp"
#include "device/cuda_driver.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

void launch_kernel(CUfunction function, Grid grid, StreamHandle stream, void** arguments) {
  call_cuda(cuda_driver().launch_kernel, function, grid.blocks, 1U, 1U, grid.threads, 1U, 1U, 0U,
            stream, arguments, nullptr);
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

using internal::call_cuda;
using internal::cuda_driver;

KernelModule::KernelModule(const void* image) {
  call_cuda(cuda_driver().module_load_data, &module_, image);
}

KernelModule::~KernelModule() { cuda_driver().module_unload(module_); }

CUfunction KernelModule::function(const char* name) const {
  CUfunction found = nullptr;
  call_cuda(cuda_driver().module_get_function, &found, module_, name);
  return found;
}

CudaGraph::~CudaGraph() {
  if (exec_ != nullptr) cuda_driver().graph_exec_destroy(exec_);
}

void CudaGraph::launch(StreamHandle stream) const {
  call_cuda(cuda_driver().graph_launch, exec_, stream);
}

CudaGraph CudaGraph::capture(StreamHandle stream, const std::function<void()>& body) {
  const internal::CudaDriver& cuda = cuda_driver();
  call_cuda(cuda.stream_begin_capture, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  CUgraph graph = nullptr;
  internal::OnFailure abandon([&] {
    cuda.stream_end_capture(stream, &graph);
    if (graph != nullptr) cuda.graph_destroy(graph);
  });
  body();
  abandon.completed();
  call_cuda(cuda.stream_end_capture, stream, &graph);
  CUgraphExec exec = nullptr;
  const CUresult result = cuda.graph_instantiate(&exec, graph, 0);
  cuda.graph_destroy(graph);  // the instantiated graph does not need it
  if (result != CUDA_SUCCESS) {
    internal::throw_cuda_error("CUDA", result, cuda.graph_instantiate.name());
  }
  return CudaGraph(exec);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
