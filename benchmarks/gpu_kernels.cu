// SPDX-License-Identifier: Apache-2.0
// Kernels that move the data of a decode step and compute almost nothing, because the benchmark
// only compares where the memory comes from.

extern "C" __global__ void transform(const unsigned short* in, unsigned inputs, unsigned short* out,
                                     unsigned outputs) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < outputs) out[at] = static_cast<unsigned short>(in[at % inputs] + 1U);
}

// Appends K and V of one token at positions[0].
extern "C" __global__ void append_kv(const unsigned short* row, const int* positions,
                                     unsigned short* keys, unsigned short* values, unsigned width) {
  const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  const unsigned long long at = static_cast<unsigned long long>(positions[0]) * width + column;
  keys[at] = row[column];
  values[at] = row[width + column];
}

// Reads all of K and V, 16 bytes at a time, as attention does. Each thread writes the sum of the
// words that it read.
extern "C" __global__ void read_rows(const uint4* keys, const uint4* values,
                                     unsigned long long count, unsigned* sums) {
  const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned threads = gridDim.x * blockDim.x;
  unsigned sum = 0;
#pragma unroll 4
  for (unsigned long long at = thread; at < count; at += threads) {
    const uint4 key = keys[at];
    const uint4 value = values[at];
    sum += key.x + key.y + key.z + key.w + value.x + value.y + value.z + value.w;
  }
  sums[thread] = sum;
}
