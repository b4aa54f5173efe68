/// @file
/// The threads of a kernel on the host, for kernels that are compiled as C++: one after the other,
/// each until it waits for the others of its warp or its block. As strict as a GPU is at its worst:
/// a lane that shuffles with one that has left ends the program.
#pragma once

#include <functional>

namespace tapedeck::tests {

/// Runs `thread` once for each thread of each block, one block after the other.
void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& thread);

}  // namespace tapedeck::tests

// What CUDA C++ has without being asked, as far as our kernels use it.
// NOLINTBEGIN(readability-identifier-naming)
struct GridIndex {
  unsigned x;
};
extern constinit thread_local GridIndex threadIdx;
extern constinit thread_local GridIndex blockIdx;
extern constinit thread_local GridIndex blockDim;

float __shfl_xor_sync(unsigned lanes, float value, unsigned distance);
void __syncthreads();
/// One thread of the host runs all lanes.
inline void __threadfence() {}

#define __global__ inline
#define __device__
/// One block runs at a time on a thread of the host.
#define __shared__ static thread_local
// NOLINTEND(readability-identifier-naming)
