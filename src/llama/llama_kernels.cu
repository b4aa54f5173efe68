// SPDX-License-Identifier: Apache-2.0
// The forward pass of a Llama model for one token: the functions of llama/kernels.hpp for a GPU.
// Activations and the KV cache are in f32 or f16, sums in f32. The kernels are simple rather than
// fast, but the reads of a warp are coalesced.
#include "llama/llama_kernels.hpp"

namespace {

using namespace tapedeck::llama;

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffff;

// The number of this thread among all threads of the launch.
__device__ unsigned thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ unsigned lane_number() { return threadIdx.x % kWarp; }

// Every lane gets the sum.
__device__ float sum_of_warp(float value) {
  for (unsigned distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

// One thread per column.
template <class Stored, class Element>
__device__ void embed_row(const Stored* table, const StepInput* step, Element* out,
                          unsigned columns) {
  const unsigned column = thread_number();
  if (column >= columns) return;
  const std::size_t stride = columns / kElementsOf<Stored>;
  set_element(out, column, element_of(table + step->token * stride, column));
}

// One warp per row.
template <class Stored, class Element>
__device__ void multiply_row(const Stored* matrix, const Element* x, Element* out, unsigned rows,
                             unsigned columns) {
  const unsigned row = thread_number() / kWarp;
  if (row >= rows) return;
  const std::size_t stride = columns / kElementsOf<Stored>;
  const Stored* const of_row = matrix + row * stride;
  float sum = 0;
#pragma unroll 4
  for (unsigned i = lane_number(); i < columns; i += kWarp) {
    sum += element_of(of_row, i) * element_of(x, i);
  }
  sum = sum_of_warp(sum);
  if (lane_number() == 0) set_element(out, row, sum);
}

// One block of whole warps, with at most 1024 threads.
template <class Element>
__device__ void normalize(const Element* x, const float* weight, Element* out, unsigned n,
                          float epsilon) {
  __shared__ float sums[kWarp];
  float squares = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    squares += element_of(x, i) * element_of(x, i);
  }
  squares = sum_of_warp(squares);
  if (lane_number() == 0) sums[threadIdx.x / kWarp] = squares;
  __syncthreads();
  float sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += sums[warp];
  const float scale = 1.0F / std::sqrt(sum / static_cast<float>(n) + epsilon);
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    set_element(out, i, weight[i] * (scale * element_of(x, i)));
  }
}

// One thread per pair of all heads.
template <class Element>
__device__ void rotate_pair(Element* x, const float* frequencies, const StepInput* step,
                            unsigned heads, unsigned pairs_of_head) {
  const unsigned pair = thread_number();
  if (pair >= heads * pairs_of_head) return;
  turn_pair(x + 2 * pair, frequencies[pair % pairs_of_head], step->position);
}

// One thread per element of the row of K and the row of V that follows it.
template <class Element>
__device__ void append_element(const Element* rows, const StepInput* step, Element* keys,
                               Element* values, unsigned key_width, unsigned value_width) {
  const unsigned i = thread_number();
  const std::size_t position = step->position;
  if (i < key_width) {
    keys[position * key_width + i] = rows[i];
  } else if (i < key_width + value_width) {
    values[position * value_width + (i - key_width)] = rows[i];
  }
}

// One warp per part of each head. The mixed values are in memory, where each lane has its own
// elements, so a head may have any size.
template <class Element>
__device__ void attend_part(const Element* query, const Element* keys, const Element* values,
                            const StepInput* step, AttentionPartials partials,
                            AttentionHeads heads) {
  const unsigned part = thread_number() / kWarp;
  if (part >= heads.heads * kAttentionParts) return;
  const unsigned head = part / kAttentionParts;
  const unsigned kv_head = head / (heads.heads / heads.kv_heads);
  const std::size_t key_stride = std::size_t{heads.kv_heads} * heads.key_size;
  const std::size_t value_stride = std::size_t{heads.kv_heads} * heads.value_size;
  const float scale = 1.0F / std::sqrt(static_cast<float>(heads.key_size));
  const unsigned positions = step->position + 1;

  query += head * heads.key_size;
  keys += kv_head * heads.key_size;
  values += kv_head * heads.value_size;
  float* const mixed = partials.mixed + std::size_t{part} * heads.value_size;
  for (unsigned i = lane_number(); i < heads.value_size; i += kWarp) mixed[i] = 0;
  OnlineSoftmax softmax;
  for (unsigned p = part % kAttentionParts; p < positions; p += kAttentionParts) {
    const Element* const key = keys + p * key_stride;
    float score = 0;
    for (unsigned i = lane_number(); i < heads.key_size; i += kWarp) {
      score += element_of(query, i) * element_of(key, i);
    }
    const OnlineSoftmax::Weights weights = softmax.add(sum_of_warp(score) * scale);
    const Element* const value = values + p * value_stride;
    for (unsigned i = lane_number(); i < heads.value_size; i += kWarp) {
      mixed[i] = weights.former * mixed[i] + weights.own * element_of(value, i);
    }
  }
  if (lane_number() != 0) return;
  partials.most[part] = softmax.most;
  partials.sum[part] = softmax.sum;
}

// One thread per element of all heads.
template <class Element>
__device__ void join_part(AttentionPartials partials, const StepInput* step, Element* mixed,
                          AttentionHeads heads) {
  const unsigned i = thread_number();
  if (i >= heads.heads * heads.value_size) return;
  const unsigned first = i / heads.value_size * kAttentionParts;
  const unsigned positions = step->position + 1;
  const unsigned parts = positions < kAttentionParts ? positions : kAttentionParts;  // not empty
  OnlineSoftmax softmax;
  float sum = 0;
  for (unsigned part = first; part < first + parts; ++part) {
    const OnlineSoftmax::Weights weights = softmax.join({partials.most[part], partials.sum[part]});
    const float own = partials.mixed[std::size_t{part} * heads.value_size + i % heads.value_size];
    sum = weights.former * sum + weights.own * own;
  }
  set_element(mixed, i, sum / softmax.sum);
}

// gate = silu(gate) * up
template <class Element>
__device__ void swiglu_element(Element* gate, const Element* up, unsigned n) {
  const unsigned i = thread_number();
  if (i < n) set_element(gate, i, silu_times(element_of(gate, i), element_of(up, i)));
}

// x += y
template <class Element>
__device__ void add_element(Element* x, const Element* y, unsigned n) {
  const unsigned i = thread_number();
  if (i < n) set_element(x, i, element_of(x, i) + element_of(y, i));
}

}  // namespace

// NOLINTBEGIN(bugprone-macro-parentheses): types, and parts of names.
#define TAPEDECK_KERNELS_OF_A_MATRIX(matrix_type, Stored, type, Element)                       \
  extern "C" __global__ void embed_##matrix_type##_##type(                                     \
      const Stored* table, const StepInput* step, Element* out, unsigned columns) {            \
    embed_row(table, step, out, columns);                                                      \
  }                                                                                            \
  extern "C" __global__ void multiply_##matrix_type##_##type(                                  \
      const Stored* matrix, const Element* x, Element* out, unsigned rows, unsigned columns) { \
    multiply_row(matrix, x, out, rows, columns);                                               \
  }
#define TAPEDECK_KERNELS(type, Element)                                                          \
  TAPEDECK_KERNELS_OF_A_MATRIX(f32, float, type, Element)                                        \
  TAPEDECK_KERNELS_OF_A_MATRIX(f16, Float16, type, Element)                                      \
  TAPEDECK_KERNELS_OF_A_MATRIX(bf16, BFloat16, type, Element)                                    \
  TAPEDECK_KERNELS_OF_A_MATRIX(q8_0, Q8Block, type, Element)                                     \
  extern "C" __global__ void rmsnorm_##type(const Element* x, const float* weight, Element* out, \
                                            unsigned n, float epsilon) {                         \
    normalize(x, weight, out, n, epsilon);                                                       \
  }                                                                                              \
  extern "C" __global__ void rotate_##type(Element* x, const float* frequencies,                 \
                                           const StepInput* step, unsigned heads,                \
                                           unsigned pairs_of_head) {                             \
    rotate_pair(x, frequencies, step, heads, pairs_of_head);                                     \
  }                                                                                              \
  extern "C" __global__ void append_##type(const Element* rows, const StepInput* step,           \
                                           Element* keys, Element* values, unsigned key_width,   \
                                           unsigned value_width) {                               \
    append_element(rows, step, keys, values, key_width, value_width);                            \
  }                                                                                              \
  extern "C" __global__ void attend_##type(const Element* query, const Element* keys,            \
                                           const Element* values, const StepInput* step,         \
                                           AttentionPartials partials, AttentionHeads heads) {   \
    attend_part(query, keys, values, step, partials, heads);                                     \
  }                                                                                              \
  extern "C" __global__ void join_##type(AttentionPartials partials, const StepInput* step,      \
                                         Element* mixed, AttentionHeads heads) {                 \
    join_part(partials, step, mixed, heads);                                                     \
  }                                                                                              \
  extern "C" __global__ void swiglu_##type(Element* gate, const Element* up, unsigned n) {       \
    swiglu_element(gate, up, n);                                                                 \
  }                                                                                              \
  extern "C" __global__ void add_##type(Element* x, const Element* y, unsigned n) {              \
    add_element(x, y, n);                                                                        \
  }
TAPEDECK_KERNELS(f32, float)
TAPEDECK_KERNELS(f16, Float16)
#undef TAPEDECK_KERNELS
#undef TAPEDECK_KERNELS_OF_A_MATRIX
// NOLINTEND(bugprone-macro-parentheses)
