// SPDX-License-Identifier: Apache-2.0
// The kernels of the decoder, compiled as C++ for the stand-in to compute.
#include "llama/host_kernels/llama_kernels.hpp"
#include "llama/host_kernels/compute.hpp"
// After compute.hpp, which defines the names of CUDA C++.
#include "llama/llama_kernels.cu"

namespace tapedeck::tests {

void compute_llama_kernels() {
#define TAPEDECK_COMPUTE(type)                           \
  compute("embed_f32_" #type, embed_f32_##type);         \
  compute("embed_f16_" #type, embed_f16_##type);         \
  compute("embed_bf16_" #type, embed_bf16_##type);       \
  compute("embed_q8_0_" #type, embed_q8_0_##type);       \
  compute("multiply_f32_" #type, multiply_f32_##type);   \
  compute("multiply_f16_" #type, multiply_f16_##type);   \
  compute("multiply_bf16_" #type, multiply_bf16_##type); \
  compute("multiply_q8_0_" #type, multiply_q8_0_##type); \
  compute("rmsnorm_" #type, rmsnorm_##type);             \
  compute("rotate_" #type, rotate_##type);               \
  compute("append_" #type, append_##type);               \
  compute("attend_" #type, attend_##type);               \
  compute("join_" #type, join_##type);                   \
  compute("swiglu_" #type, swiglu_##type);               \
  compute("add_" #type, add_##type);
  TAPEDECK_COMPUTE(f32)
  TAPEDECK_COMPUTE(f16)
#undef TAPEDECK_COMPUTE
}

}  // namespace tapedeck::tests
