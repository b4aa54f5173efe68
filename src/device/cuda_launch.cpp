#include "tapedeck/device/cuda_launch.hpp"

#include <optional>
#include <utility>

#include "device/cuda_context.hpp"
#include "device/cuda_driver.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

void launch_kernel(CUfunction function, Grid grid, StreamHandle stream, void** arguments) {
  call_cuda(cuda_driver().launch_kernel, function, grid.blocks, 1U, 1U, grid.threads, 1U, 1U, 0U,
            stream, arguments, nullptr);
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

using internal::call_cuda;
using internal::check_cuda;
using internal::cuda_driver;

struct CurrentDevice::State {
  CUdevice handle = 0;
  internal::PrimaryContext context;
  std::optional<internal::Current> current;
};

CurrentDevice::CurrentDevice(const Device& device) : state_(std::make_unique<State>()) {
  const internal::CudaDriver& cuda = cuda_driver();
  call_cuda(cuda.device_get, &state_->handle, static_cast<int>(device.info().ordinal));
  check_cuda(state_->context.retain(cuda, state_->handle), cuda.primary_retain.name());
  state_->current.emplace(cuda, state_->context.get());
  check_cuda(state_->current->result(), cuda.ctx_push_current.name());
}

CurrentDevice::~CurrentDevice() = default;

int CurrentDevice::handle() const noexcept { return state_->handle; }

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

CudaGraph::Capture::Capture(StreamHandle stream) : driver_(&cuda_driver()), stream_(stream) {
  call_cuda(driver_->stream_begin_capture, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
}

CudaGraph::Capture::~Capture() {
  if (driver_ == nullptr) return;
  CUgraph graph = nullptr;
  driver_->stream_end_capture(stream_, &graph);
  if (graph != nullptr) driver_->graph_destroy(graph);
}

CudaGraph CudaGraph::Capture::end() {
  const internal::CudaDriver& cuda = *std::exchange(driver_, nullptr);
  CUgraph graph = nullptr;
  call_cuda(cuda.stream_end_capture, stream_, &graph);
  CUgraphExec exec = nullptr;
  const CUresult result = cuda.graph_instantiate(&exec, graph, 0);
  cuda.graph_destroy(graph);  // what was instantiated does not need it
  check_cuda(result, cuda.graph_instantiate.name());
  return CudaGraph(exec);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
