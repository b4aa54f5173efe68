// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs the threads of a kernel on the host, for kernels that are compiled as C++. They run one
/// after the other, each until it waits for the other threads of its warp or block. It is as strict
/// as the strictest GPU: a lane that shuffles with a lane that has exited ends the program.
#pragma once

#include <functional>

namespace tapedeck::tests {

/// Runs `thread` once for each thread of each block, one block after the other.
void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& thread);

}  // namespace tapedeck::tests

// The parts of CUDA C++ that our kernels use and that need no include there.
// NOLINTBEGIN(readability-identifier-naming)
struct GridIndex {
  unsigned x;
};
extern constinit thread_local GridIndex threadIdx;
extern constinit thread_local GridIndex blockIdx;
extern constinit thread_local GridIndex blockDim;

float __shfl_xor_sync(unsigned lanes, float value, unsigned distance);
void __syncthreads();
/// One host thread runs all lanes.
inline void __threadfence() {}

#define __global__ inline
#define __device__
/// Only one block runs at a time on a host thread.
#define __shared__ static thread_local
// NOLINTEND(readability-identifier-naming)
