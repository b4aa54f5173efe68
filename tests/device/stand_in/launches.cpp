// SPDX-License-Identifier: Apache-2.0
// Kernels, and graphs of them.
#include <array>
#include <chrono>

#include "device/stand_in/state.hpp"

namespace tapedeck::tests::stand_in {
namespace {

constexpr unsigned kMostThreads = 1024;

template <class Handle>
Handle new_handle() {
  return reinterpret_cast<Handle>(++state().last_object);
}

template <class All, class Handle>
CUresult take_from(const Call& call, All& all, Handle handle) {
  if (all.erase(handle) == 0) return call.violation("no such object", CUDA_ERROR_INVALID_HANDLE);
  return CUDA_SUCCESS;
}

bool is_function(CUfunction function) {
  for (const std::string& one : state().functions) {
    if (reinterpret_cast<const void*>(&one) == function) return true;
  }
  return false;
}

// Entry points that exist only for programs that need a device.
CUresult not_stood_in_for(const char* name) {
  const Call call(name);
  if (call.refused()) return call.result();
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace
}  // namespace tapedeck::tests::stand_in

using namespace tapedeck::tests::stand_in;

CUresult CUDAAPI cuModuleLoadData(CUmodule* module, const void* image) {
  STAND_IN_FOR(Needs::context);
  if (image == nullptr) return call.violation("no image");
  *module = *state().modules.insert(new_handle<CUmodule>()).first;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleUnload(CUmodule module) {
  STAND_IN_FOR(Needs::context);
  return take_from(call, state().modules, module);
}

// The image is not read.
CUresult CUDAAPI cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  STAND_IN_FOR(Needs::context);
  if (!state().modules.contains(module)) return call.violation("no such module");
  const std::string& known = *state().functions.insert(name).first;
  *function = reinterpret_cast<CUfunction>(const_cast<std::string*>(&known));
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                                unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                                unsigned int block_z, unsigned int /*shared_bytes*/,
                                CUstream handle, void** parameters, void** /*extra*/) {
  STAND_IN_FOR(Needs::context);
  Stream* const stream = stream_of(call, handle, true);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (!is_function(function)) return call.violation("no such function");
  if (parameters == nullptr) return call.violation("no parameters");
  if (grid_x == 0 || grid_y != 1 || grid_z != 1)
    return call.violation("the grid must be one-dimensional");
  if (block_x == 0 || block_x > kMostThreads || block_y != 1 || block_z != 1) {
    return call.violation("the blocks must be one-dimensional");
  }
  const auto launcher = state().launchers.find(*reinterpret_cast<const std::string*>(function));
  if (launcher == state().launchers.end()) return CUDA_SUCCESS;
  Launch launch = launcher->second(grid_x, block_x, parameters);
  if (stream->captured) {
    stream->capture.push_back(std::move(launch));
  } else {
    put(*stream, {.kind = Task::Kind::kernel, .launch = std::move(launch)});
  }
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  STAND_IN_FOR(Needs::context);
  if (handle == nullptr) return call.violation("the default stream");
  if (mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
    return call.violation("the capture mode disturbs other threads");
  Stream* const stream = stream_of(call, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  stream->captured = true;
  return CUDA_SUCCESS;
}

// The capture ends even if this call fails.
CUresult CUDAAPI cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  const Call call(__func__);
  Stream* const stream = stream_of(call, handle, true);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const bool was_captured = std::exchange(stream->captured, false);
  std::vector<Launch> captured = std::exchange(stream->capture, {});
  if (call.refused()) return call.result();
  if (!was_captured) return call.violation("the stream is not captured");
  *graph = new_handle<CUgraph>();
  state().graphs[*graph] = std::move(captured);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph,
                                             unsigned long long flags) {
  STAND_IN_FOR(Needs::context);
  if (flags != 0) return call.violation("flags must be 0");
  const auto found = state().graphs.find(graph);
  if (found == state().graphs.end()) return call.violation("no such graph");
  *exec = new_handle<CUgraphExec>();
  state().graph_execs[*exec] = found->second;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec exec, CUstream handle) {
  STAND_IN_FOR(Needs::context);
  Stream* const stream = stream_of(call, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const auto found = state().graph_execs.find(exec);
  if (found == state().graph_execs.end()) return call.violation("no such graph");
  for (const Launch& launch : found->second) {
    put(*stream, {.kind = Task::Kind::kernel, .launch = launch});
  }
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec exec) {
  STAND_IN_FOR(Needs::context);
  return take_from(call, state().graph_execs, exec);
}

CUresult CUDAAPI cuGraphDestroy(CUgraph graph) {
  STAND_IN_FOR(Needs::context);
  return take_from(call, state().graphs, graph);
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
  STAND_IN_FOR(Needs::context);
  Stream* const stream = stream_of(call, handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  put(*stream, {.kind = Task::Kind::kernel, .launch = [function, data] { function(data); }});
  return CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemAllocAsync(CUdeviceptr* /*at*/, std::size_t /*bytes*/, CUstream /*stream*/) {
  return not_stood_in_for(__func__);
}
CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr /*at*/, CUstream /*stream*/) {
  return not_stood_in_for(__func__);
}
CUresult CUDAAPI cuDeviceGetDefaultMemPool(CUmemoryPool* /*pool*/, CUdevice /*device*/) {
  return not_stood_in_for(__func__);
}
CUresult CUDAAPI cuMemPoolSetAttribute(CUmemoryPool /*pool*/, CUmemPool_attribute /*attribute*/,
                                       void* /*value*/) {
  return not_stood_in_for(__func__);
}
CUresult CUDAAPI cuMemPoolTrimTo(CUmemoryPool /*pool*/, std::size_t /*bytes*/) {
  return not_stood_in_for(__func__);
}

// cuda.h defines another version under this name.
#undef cuEventElapsedTime
// NOLINTNEXTLINE(readability-identifier-naming): the driver has it so.
extern "C" CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end);
CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  STAND_IN_FOR(Needs::context);
  std::array<std::chrono::steady_clock::time_point, 2> times;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto found = state().events.find(i == 0 ? begin : end);
    if (found == state().events.end() || found->second->recorded == nullptr) {
      return call.violation("the event was not recorded", CUDA_ERROR_INVALID_HANDLE);
    }
    if (!found->second->recorded->reached) return CUDA_ERROR_NOT_READY;
    times[i] = found->second->recorded->when;
  }
  *milliseconds = std::chrono::duration<float, std::milli>(times[1] - times[0]).count();
  return CUDA_SUCCESS;
}
