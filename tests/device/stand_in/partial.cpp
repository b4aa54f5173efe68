// A driver that has the first entry points only, of the version that a test says, or a new one.
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
