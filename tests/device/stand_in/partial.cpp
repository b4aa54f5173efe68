// A driver from before this library's time: it has the first entry points only.
#include <cuda.h>

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  *version = 9000;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuInit(unsigned int /*flags*/) { return CUDA_SUCCESS; }

CUresult CUDAAPI cuGetErrorName(CUresult /*error*/, const char** name) {
  *name = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
