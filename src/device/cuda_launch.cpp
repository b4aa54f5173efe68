#include "device/cuda_launch.hpp"

#include <string>

#include "tapedeck/device/device_error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

// Kernels are compiled for many devices, and by a toolkit that may be newer than the driver.
std::string advice(CUresult result) {
  switch (result) {
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
      return "the kernels were compiled by the toolkit of CUDA " +
             internal::version_text(CUDA_VERSION) + ", and the driver is for CUDA " +
             internal::version_text(internal::cuda_version(internal::cuda_driver())) +
             ": an older driver, or a device that they were not compiled for, does not take them";
    default:
      return {};
  }
}

}  // namespace

const LaunchDriver& launch_driver() {
  // Never destroyed, as the driver itself.
  static const LaunchDriver* const driver = new LaunchDriver(internal::cuda_driver().handle());
  return *driver;
}

void check_cuda(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return;
  throw DeviceError({.device = "CUDA",
                     .call = call,
                     .number = static_cast<int>(result),
                     .name = internal::result_name(internal::cuda_driver(), result)},
                    advice(result));
}

CurrentDevice::CurrentDevice(const Device& device) {
  const internal::CudaDriver& cuda = internal::cuda_driver();
  call_cuda(cuda.device_get, &handle_, static_cast<int>(device.info().ordinal));
  check_cuda(context_.retain(cuda, handle_), cuda.primary_retain.name());
  current_.emplace(cuda, context_.get());
  check_cuda(current_->result(), cuda.ctx_push_current.name());
}

KernelModule::KernelModule(const void* image) {
  call_cuda(launch_driver().module_load_data, &module_, image);
}

KernelModule::~KernelModule() { launch_driver().module_unload(module_); }

CUfunction KernelModule::function(const char* name) const {
  CUfunction found = nullptr;
  call_cuda(launch_driver().module_get_function, &found, module_, name);
  return found;
}

CudaGraph::~CudaGraph() {
  if (exec_ != nullptr) launch_driver().graph_exec_destroy(exec_);
}

void CudaGraph::launch(StreamHandle stream) const {
  call_cuda(launch_driver().graph_launch, exec_, stream);
}

void CudaGraph::begin(StreamHandle stream) {
  call_cuda(launch_driver().stream_begin_capture, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

CudaGraph CudaGraph::end(StreamHandle stream) {
  const LaunchDriver& cuda = launch_driver();
  CUgraph graph = nullptr;
  call_cuda(cuda.stream_end_capture, stream, &graph);
  CUgraphExec exec = nullptr;
  const CUresult result = cuda.graph_instantiate(&exec, graph, 0);
  cuda.graph_destroy(graph);  // what was instantiated does not need it
  check_cuda(result, cuda.graph_instantiate.name());
  return CudaGraph(exec);
}

void CudaGraph::discard(StreamHandle stream) noexcept {
  const LaunchDriver& cuda = launch_driver();
  CUgraph graph = nullptr;
  cuda.stream_end_capture(stream, &graph);
  if (graph != nullptr) cuda.graph_destroy(graph);
}

TAPEDECK_ABI_END
}  // namespace tapedeck
