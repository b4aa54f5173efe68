// SPDX-License-Identifier: Apache-2.0
// Reductions use `omp simd`, which allows the compiler to reorder additions there and nowhere else.
#include "llama/kernels.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "llama/llama_kernels.hpp"

namespace tapedeck::llama {
namespace {

constexpr std::size_t kRowsAtOnce = 4;
// The number of elements of a row that are unpacked and summed at once. It is the same for all
// types, so that all types are summed in the same order. The unpacked pieces of four rows fit in
// the L1 cache.
constexpr std::size_t kPiece = 512;
using Room = std::array<float, kPiece>;

float dot(const float* a, const float* b, std::size_t n) noexcept {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Four rows share each load of x, and their sums are independent of each other.
void add_dots(std::array<float, kRowsAtOnce>& sums,
              const std::array<const float*, kRowsAtOnce>& rows, const float* x,
              std::size_t n) noexcept {
  const float* const a = rows[0];
  const float* const b = rows[1];
  const float* const c = rows[2];
  const float* const d = rows[3];
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
  sums[0] += sum_a;
  sums[1] += sum_b;
  sums[2] += sum_c;
  sums[3] += sum_d;
}

template <class Stored>
void unpack(const Stored* from, std::size_t n, float* out) noexcept {
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) out[i] = to_float(from[i]);
}
void unpack(const Q8Block* from, std::size_t n, float* out) noexcept {
  for (std::size_t begin = 0; begin < n; begin += Q8Block::kElements) {
    const Q8Block& block = from[begin / Q8Block::kElements];
    const float scale = to_float(block.scale);
    float* const part = out + begin;
#pragma omp simd
    for (std::size_t i = 0; i < Q8Block::kElements; ++i) {
      part[i] = scale * static_cast<float>(block.quants[i]);
    }
  }
}

// Returns `n` elements of a row from `begin` on: in place, or unpacked into `room`. Pieces are
// whole blocks.
template <class Stored>
const float* floats_of(const Stored* row, std::size_t begin, std::size_t n, Room& room) noexcept {
  unpack(row + begin / kElementsOf<Stored>, n, room.data());
  return room.data();
}
const float* floats_of(const float* row, std::size_t begin, std::size_t, Room&) noexcept {
  return row + begin;
}

/// The rows of a matrix, in the type they are stored in.
template <class Stored>
class Rows {
 public:
  explicit Rows(const Matrix& matrix) noexcept
      : first_(reinterpret_cast<const Stored*>(matrix.bytes.data())),
        stride_(matrix.columns / kElementsOf<Stored>) {}

  [[nodiscard]] const Stored* operator[](std::size_t row) const noexcept {
    return first_ + row * stride_;
  }

  // Computes rows [begin, end) of matrix * x.
  void multiply(std::span<float> out, std::span<const float> x, std::size_t begin,
                std::size_t end) const noexcept {
    std::size_t row = begin;
    for (; row + kRowsAtOnce <= end; row += kRowsAtOnce) multiply_four(&out[row], x, row);
    for (; row < end; ++row) out[row] = multiply_one(x, row);
  }

 private:
  void multiply_four(float* out, std::span<const float> x, std::size_t row) const noexcept {
    std::array<Room, kRowsAtOnce> rooms;
    std::array<float, kRowsAtOnce> sums{};
    for (std::size_t at = 0; at < x.size(); at += kPiece) {
      const std::size_t n = std::min(kPiece, x.size() - at);
      std::array<const float*, kRowsAtOnce> rows{};
      for (std::size_t i = 0; i < kRowsAtOnce; ++i) {
        rows[i] = floats_of((*this)[row + i], at, n, rooms[i]);
      }
      add_dots(sums, rows, &x[at], n);
    }
    std::copy(sums.begin(), sums.end(), out);
  }

  [[nodiscard]] float multiply_one(std::span<const float> x, std::size_t row) const noexcept {
    Room room;
    float sum = 0;
    for (std::size_t at = 0; at < x.size(); at += kPiece) {
      const std::size_t n = std::min(kPiece, x.size() - at);
      sum += dot(floats_of((*this)[row], at, n, room), &x[at], n);
    }
    return sum;
  }

  const Stored* first_;
  std::size_t stride_;
};

// Calls `use` with the matrix's rows.
template <class Use>
void with_rows(const Matrix& matrix, Use use) noexcept {
  switch (matrix.dtype) {
    case DType::f32:
      return use(Rows<float>(matrix));
    case DType::f16:
      return use(Rows<Float16>(matrix));
    case DType::bf16:
      return use(Rows<BFloat16>(matrix));
    case DType::q8_0:
      return use(Rows<Q8Block>(matrix));
    default:
      assert(false);  // not one of kMatrixTypes
  }
}

// Computes one query head. `keys` and `values` point to the first position of its KV head.
void attend_head(std::span<float> mixed, std::span<const float> query, std::span<float> scores,
                 const float* keys, const float* values, const Shape& shape) noexcept {
  const std::size_t key_stride = shape.key_dim();
  const std::size_t value_stride = shape.value_dim();
  const float scale = 1.0F / std::sqrt(static_cast<float>(query.size()));
  for (std::size_t p = 0; p < scores.size(); ++p) {
    scores[p] = dot(query.data(), keys + p * key_stride, query.size()) * scale;
  }
  softmax(scores);
  std::fill(mixed.begin(), mixed.end(), 0.0F);
  for (std::size_t p = 0; p < scores.size(); ++p) {
    const float* const value = values + p * value_stride;
    const float weight = scores[p];
#pragma omp simd
    for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += weight * value[i];
  }
}

}  // namespace

void rmsnorm(std::span<float> out, std::span<const float> x, std::span<const float> weight,
             float epsilon) noexcept {
  const float mean_square = dot(x.data(), x.data(), x.size()) / static_cast<float>(x.size());
  const float scale = 1.0F / std::sqrt(mean_square + epsilon);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = weight[i] * (scale * x[i]);
}

void matmul(ThreadPool& pool, std::span<float> out, std::span<const float> x,
            const Matrix& matrix) noexcept {
  assert(matrix.rows == out.size() && matrix.columns == x.size());
  // Parts are whole blocks of rows, so that a row's sum does not depend on the number of threads.
  const std::size_t blocks = (out.size() + kRowsAtOnce - 1) / kRowsAtOnce;
  with_rows(matrix, [&](const auto& rows) {
    pool.split(blocks, kRowsAtOnce * x.size(), [&](std::size_t begin, std::size_t end) noexcept {
      rows.multiply(out, x, begin * kRowsAtOnce, std::min(end * kRowsAtOnce, out.size()));
    });
  });
}

void copy_row(std::span<float> out, const Matrix& matrix, std::size_t row) noexcept {
  assert(row < matrix.rows && out.size() == matrix.columns);
  with_rows(matrix, [&](const auto& rows) {
    Room room;
    for (std::size_t at = 0; at < out.size(); at += kPiece) {
      const std::size_t n = std::min(kPiece, out.size() - at);
      std::copy_n(floats_of(rows[row], at, n, room), n, &out[at]);
    }
  });
}

void rotation_at(std::span<float> rotation, std::span<const float> frequencies,
                 std::size_t position) noexcept {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    rotation[2 * i] = std::cos(angle);
    rotation[2 * i + 1] = std::sin(angle);
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
            std::span<float> scores, const float* keys, const float* values,
            const Shape& shape) noexcept {
  const std::size_t key_size = shape.key_head();
  const std::size_t value_size = shape.value_head();
  const std::size_t positions = scores.size() / shape.heads;
  const std::size_t heads_per_kv = shape.heads / shape.kv_heads;
  const std::size_t cost = (key_size + value_size) * positions;
  pool.split(shape.heads, cost, [&](std::size_t begin, std::size_t end) noexcept {
    for (std::size_t head = begin; head < end; ++head) {
      const std::size_t kv_head = head / heads_per_kv;
      attend_head(mixed.subspan(head * value_size, value_size),
                  query.subspan(head * key_size, key_size),
                  scores.subspan(head * positions, positions), keys + kv_head * key_size,
                  values + kv_head * value_size, shape);
    }
  });
}

void swiglu(std::span<float> gate, std::span<const float> up) noexcept {
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = silu_times(gate[i], up[i]);
}

void add(std::span<float> x, std::span<const float> y) noexcept {
#pragma omp simd
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

void softmax(std::span<float> x) noexcept {
  const float most = *std::max_element(x.begin(), x.end());
  float sum = 0;
  for (float& value : x) {
    value = std::exp(value - most);  // at most 1, so nothing overflows
    sum += value;
  }
  for (float& value : x) value /= sum;
}

}  // namespace tapedeck::llama
