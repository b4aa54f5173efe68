// Reductions say `omp simd`, which lets the compiler add in another order there, and nowhere else.
#include "engine/kernels.hpp"

#include <algorithm>
#include <cmath>

namespace tapedeck::inline TAPEDECK_ABI::engine {
namespace {

constexpr float kNormEpsilon = 1e-5F;
constexpr float kRotaryTheta = 10000.0F;
constexpr std::size_t kRowsAtOnce = 4;

float dot(const float* a, const float* b, std::size_t n) noexcept {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Four rows share each load of x, and their sums do not wait for each other.
void dot_four_rows(float* out, const float* rows, const float* x, std::size_t n) noexcept {
  const float* const a = rows;
  const float* const b = rows + n;
  const float* const c = rows + 2 * n;
  const float* const d = rows + 3 * n;
  float sum_a = 0;
  float sum_b = 0;
  float sum_c = 0;
  float sum_d = 0;
#pragma omp simd reduction(+ : sum_a, sum_b, sum_c, sum_d)
  for (std::size_t i = 0; i < n; ++i) {
    sum_a += a[i] * x[i];
    sum_b += b[i] * x[i];
    sum_c += c[i] * x[i];
    sum_d += d[i] * x[i];
  }
  out[0] = sum_a;
  out[1] = sum_b;
  out[2] = sum_c;
  out[3] = sum_d;
}

void attend_head(float* mixed, const float* query, std::span<float> scores,
                 const CachedLayer& cached, std::size_t kv_offset, std::size_t size) noexcept {
  const float scale = 1.0F / std::sqrt(static_cast<float>(size));
  for (std::size_t p = 0; p < scores.size(); ++p) {
    scores[p] = dot(query, cached.keys + p * cached.stride + kv_offset, size) * scale;
  }
  softmax(scores);
  std::fill_n(mixed, size, 0.0F);
  for (std::size_t p = 0; p < scores.size(); ++p) {
    const float* const value = cached.values + p * cached.stride + kv_offset;
    const float weight = scores[p];
#pragma omp simd
    for (std::size_t i = 0; i < size; ++i) mixed[i] += weight * value[i];
  }
}

}  // namespace

void rmsnorm(std::span<float> out, std::span<const float> x,
             std::span<const float> weight) noexcept {
  const float mean_square = dot(x.data(), x.data(), x.size()) / static_cast<float>(x.size());
  const float scale = 1.0F / std::sqrt(mean_square + kNormEpsilon);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = weight[i] * (scale * x[i]);
}

void matmul(ThreadPool& pool, std::span<float> out, std::span<const float> x,
            std::span<const float> matrix) noexcept {
  const std::size_t n = x.size();
  // Parts are whole blocks of rows, so that a row is summed alike on any number of threads.
  const std::size_t blocks = (out.size() + kRowsAtOnce - 1) / kRowsAtOnce;
  pool.split(blocks, kRowsAtOnce * n, [&](std::size_t begin, std::size_t end) noexcept {
    std::size_t row = begin * kRowsAtOnce;
    const std::size_t last = std::min(end * kRowsAtOnce, out.size());
    for (; row + kRowsAtOnce <= last; row += kRowsAtOnce) {
      dot_four_rows(&out[row], &matrix[row * n], x.data(), n);
    }
    for (; row < last; ++row) out[row] = dot(&matrix[row * n], x.data(), n);
  });
}

void rotation_at(std::span<float> rotation, std::size_t position) noexcept {
  for (std::size_t i = 0; i < rotation.size(); i += 2) {
    const float turn = static_cast<float>(i) / static_cast<float>(rotation.size());
    const float angle = static_cast<float>(position) / std::pow(kRotaryTheta, turn);
    rotation[i] = std::cos(angle);
    rotation[i + 1] = std::sin(angle);
  }
}

void rotate(std::span<float> x, std::span<const float> rotation) noexcept {
  for (std::size_t head = 0; head < x.size(); head += rotation.size()) {
    for (std::size_t i = 0; i < rotation.size(); i += 2) {
      const float a = x[head + i];
      const float b = x[head + i + 1];
      x[head + i] = a * rotation[i] - b * rotation[i + 1];
      x[head + i + 1] = a * rotation[i + 1] + b * rotation[i];
    }
  }
}

void attend(ThreadPool& pool, std::span<float> mixed, std::span<const float> query,
            std::span<float> scores, const CachedLayer& cached, HeadCounts counts) noexcept {
  const std::size_t size = query.size() / counts.heads;
  const std::size_t heads_per_kv = counts.heads / counts.kv_heads;
  const std::size_t cost = 2 * size * cached.positions;
  pool.split(counts.heads, cost, [&](std::size_t begin, std::size_t end) noexcept {
    for (std::size_t head = begin; head < end; ++head) {
      attend_head(&mixed[head * size], &query[head * size],
                  scores.subspan(head * cached.positions, cached.positions), cached,
                  head / heads_per_kv * size, size);
    }
  });
}

void swiglu(std::span<float> gate, std::span<const float> up) noexcept {
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
  }
}

void add(std::span<float> x, std::span<const float> y) noexcept {
#pragma omp simd
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

void softmax(std::span<float> x) noexcept {
  const float most = *std::max_element(x.begin(), x.end());
  float sum = 0;
  for (float& value : x) {
    value = std::exp(value - most);  // never above 1: nothing overflows
    sum += value;
  }
  for (float& value : x) value /= sum;
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
