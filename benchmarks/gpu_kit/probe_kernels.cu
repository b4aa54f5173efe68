// SPDX-License-Identifier: Apache-2.0
// The kernels of gpu_probe. They access one page through two addresses, and read K in chunks as
// attention does.
#include "rows.hpp"

namespace {

using namespace tapedeck::gpu_kit;

constexpr unsigned kAllLanes = 0xffffffff;

/// Eight elements in bf16 that a thread reads at once.
struct alignas(16) Words {
  unsigned pairs[4];
};
constexpr unsigned kWordsOfRow = kColumns / kElementsOfWords;

__device__ unsigned thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ float float_of(unsigned bf16) { return __builtin_bit_cast(float, bf16 << 16); }
__device__ unsigned bf16_of(unsigned value) {
  return __builtin_bit_cast(unsigned, static_cast<float>(value)) >> 16;
}

__device__ void fence(Between between) {
  if (between == Between::fence || between == Between::fence_and_volatile) __threadfence();
#ifdef __CUDACC__
  if (between == Between::proxy_fence) asm volatile("fence.proxy.alias;" ::: "memory");
#endif
}

// `query` is this lane's part of the query: every `kWarp`-th element.
__device__ float sum_of_products(const Words& keys, const float* query) {
  float sum = 0;
#pragma unroll
  for (unsigned pair = 0; pair < 4; ++pair) {
    sum += float_of(keys.pairs[pair] & 0xffff) * query[2 * pair * kWarp];
    sum += float_of(keys.pairs[pair] >> 16) * query[(2 * pair + 1) * kWarp];
  }
  return sum;
}

}  // namespace

extern "C" __global__ void write_words(unsigned* to, unsigned count, unsigned round) {
  const unsigned i = thread_number();
  if (i < count) to[i] = word_at(i, round);
}

extern "C" __global__ void read_words(const unsigned* from, unsigned count, unsigned* seen) {
  const unsigned i = thread_number();
  if (i < count) seen[i] = from[i];
}

// Each block first reads its words through `second`, so that a cache may hold the old values, and
// then writes them through `first`. After that each thread reads a word through `second`: its own,
// or that of the thread `distance` further in the block. The result goes to the first `count` words
// of `seen`. The old values go to the next `count` words, so that the first read is not optimized
// away.
extern "C" __global__ void write_and_read(unsigned* first, const unsigned* second, unsigned count,
                                          unsigned round, unsigned distance, int between_both,
                                          unsigned* seen) {
  const unsigned i = thread_number();
  if (i >= count) return;  // `count` is a multiple of the block's threads
  const Between between = static_cast<Between>(between_both);
  const unsigned other = i - threadIdx.x + (threadIdx.x + distance) % blockDim.x;
  seen[count + i] = second[other];
  __syncthreads();
  const bool is_volatile =
      between == Between::volatile_access || between == Between::fence_and_volatile;
  if (is_volatile) {
    *static_cast<volatile unsigned*>(first + i) = word_at(i, round);
  } else {
    first[i] = word_at(i, round);
  }
  fence(between);
  if (distance != 0) {
    __syncthreads();
    fence(between);
  }
  // Not a conditional expression, because all of it would be volatile.
  if (is_volatile) {
    seen[other] = *static_cast<const volatile unsigned*>(second + other);
  } else {
    seen[other] = second[other];
  }
}

// Launched with a thread for every eight elements of all regions.
extern "C" __global__ void fill_rows(Rows rows) {
  const unsigned long long i =
      static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const unsigned word = static_cast<unsigned>(i % kWordsOfRow);
  const unsigned region = static_cast<unsigned>(i / kWordsOfRow % kRegions);
  const unsigned long long token = i / kWordsOfRow / kRegions;
  if (token >= rows.tokens) return;
  const unsigned at = static_cast<unsigned>(token);
  Words words;
  for (unsigned pair = 0; pair < 4; ++pair) {
    const unsigned column = word * kElementsOfWords + 2 * pair;
    words.pairs[pair] =
        bf16_of(key_at(region, at, column)) | bf16_of(key_at(region, at, column + 1)) << 16;
  }
  reinterpret_cast<Words*>(rows.at(region, at))[word] = words;
}

// Computes the scores of all heads for each token. A warp reads a row of K, as attention does; 16
// lanes hold a head.
extern "C" __global__ void score_rows(Rows rows, unsigned region, const float* query,
                                      float* scores) {
  const unsigned token = thread_number() / kWarp;
  if (token >= rows.tokens) return;
  const unsigned lane = threadIdx.x % kWarp;
  const Words* const row = reinterpret_cast<const Words*>(rows.at(region, token));
  constexpr unsigned kReads = kWordsOfRow / kWarp;
  Words words[kReads];
#pragma unroll
  for (unsigned i = 0; i < kReads; ++i) words[i] = row[i * kWarp + lane];
#pragma unroll
  for (unsigned i = 0; i < kReads; ++i) {
    float sum = sum_of_products(words[i], query + i * kElementsOfWords * kWarp + lane);
    for (unsigned distance = 8; distance > 0; distance /= 2) {
      sum += __shfl_xor_sync(kAllLanes, sum, distance);
    }
    if (lane % 16 == 0) scores[token * kKvHeads + 2 * i + lane / 16] = sum;
  }
}
