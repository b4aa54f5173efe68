// SPDX-License-Identifier: Apache-2.0
/// @file
/// Shared code of the GPU benchmarks: the device with its kernels, a stopwatch that uses the
/// device's clock, and rows that are skipped if the device refuses a call.
#pragma once

#include <benchmark/benchmark.h>
#include <cuda.h>

#include <string>

#include "device/cuda_driver.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device_stream.hpp"

namespace gpu_rows {

struct Gpu {
  /// @param kernels  an image that `tapedeck_add_kernels` embedded in the program.
  explicit Gpu(const void* kernels) : module(kernels) {}

  tapedeck::CudaDevice device{};
  tapedeck::CurrentDevice current{device};
  tapedeck::KernelModule module;
  tapedeck::DeviceStream stream{device};
};

/// A line that describes the device, for the output above a table.
[[nodiscard]] inline std::string description(const tapedeck::DeviceInfo& info) {
  return info.name + ", compute capability " + std::to_string(info.compute_major) + "." +
         std::to_string(info.compute_minor) + ", " + tapedeck::to_iec(info.total) + ", pages of " +
         tapedeck::to_iec(info.granularity) + "; driver for CUDA " + info.driver;
}

/// Measures the work that is put on a stream between `start` and `stop`, with the device's own
/// clock.
class Stopwatch {
 public:
  explicit Stopwatch(tapedeck::StreamHandle stream) : stream_(stream) {
    for (CUevent* event : {&begin_, &end_}) {
      tapedeck::internal::call_cuda(tapedeck::internal::cuda_driver().event_create, event,
                                    unsigned{CU_EVENT_DEFAULT});
    }
  }
  ~Stopwatch() {
    for (auto* const event : {begin_, end_}) tapedeck::internal::cuda_driver().event_destroy(event);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  void start() {
    tapedeck::internal::call_cuda(tapedeck::internal::cuda_driver().event_record, begin_, stream_);
  }
  /// Waits for the stream. Returns seconds.
  [[nodiscard]] double stop() {
    tapedeck::internal::call_cuda(tapedeck::internal::cuda_driver().event_record, end_, stream_);
    tapedeck::internal::call_cuda(tapedeck::internal::cuda_driver().event_synchronize, end_);
    float milliseconds = 0;
    tapedeck::internal::call_cuda(elapsed_time_, &milliseconds, begin_, end_);
    return double{milliseconds} / 1e3;
  }

 private:
  tapedeck::internal::EntryPoint<float*, CUevent, CUevent> elapsed_time_{
      tapedeck::internal::cuda_driver().handle, "cuEventElapsedTime"};
  tapedeck::StreamHandle stream_;
  CUevent begin_ = nullptr;
  CUevent end_ = nullptr;
};

/// Registers `row(state, gpu)`. If the device refuses a call, only this row is skipped.
template <class Row>
benchmark::internal::Benchmark* add(const std::string& name, Gpu& gpu, Row row) {
  return benchmark::RegisterBenchmark(name.c_str(), [&gpu, row](benchmark::State& state) {
    try {
      row(state, gpu);
    } catch (const tapedeck::Error& error) {
      state.SkipWithError(error.what());
    }
  });
}

}  // namespace gpu_rows
