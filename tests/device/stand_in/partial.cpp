// SPDX-License-Identifier: Apache-2.0
// A driver that has only the first entry points, with the version that a test sets, or else a new
// one.
#include <cuda.h>

#include <cstdlib>

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  const char* const told = std::getenv("TAPEDECK_PARTIAL_DRIVER");
  *version = told != nullptr ? std::atoi(told) : CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuInit(unsigned int /*flags*/) { return CUDA_SUCCESS; }

CUresult CUDAAPI cuGetErrorName(CUresult /*error*/, const char** name) {
  *name = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
