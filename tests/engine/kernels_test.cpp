#include "engine/kernels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "engine/gguf_model.hpp"
#include "engine/rotation.hpp"

namespace tapedeck::tests {
namespace {

using engine::ThreadPool;

std::vector<float> noise(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> unit(-1, 1);
  std::vector<float> values(n);
  for (float& value : values) value = unit(random);
  return values;
}

// Against the same in double, at sizes with and without whole blocks and vectors.
TEST(Kernels, MatmulIsRightAtEverySizeAndAlikeOnAnyNumberOfThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  for (const std::size_t rows : {1U, 3U, 4U, 5U, 64U, 127U}) {
    for (const std::size_t columns : {1U, 2U, 7U, 16U, 33U, 100U, 512U, 1025U}) {
      const std::vector<float> matrix = noise(rows * columns, rows);
      const std::vector<float> x = noise(columns, columns);
      std::vector<float> out(rows);
      std::vector<float> out_of_three(rows);
      engine::matmul(one, out, x, engine::f32_matrix(matrix, rows));
      engine::matmul(three, out_of_three, x, engine::f32_matrix(matrix, rows));
      EXPECT_EQ(out, out_of_three);
      for (std::size_t row = 0; row < rows; ++row) {
        double sum = 0;
        for (std::size_t i = 0; i < columns; ++i) {
          sum += static_cast<double>(matrix[row * columns + i]) * static_cast<double>(x[i]);
        }
        EXPECT_NEAR(out[row], sum, 1e-7 * static_cast<double>(std::max<std::size_t>(columns, 100)));
      }
    }
  }
}

engine::Matrix matrix_of(const GgufTensor& tensor) {
  return {.dtype = tensor.dtype,
          .rows = tensor.shape[0],
          .columns = tensor.shape[1],
          .bytes = std::as_bytes(std::span(tensor.bytes))};
}

// To the bit: a type changes where numbers come from, and not how they are summed.
TEST(Kernels, AMatrixOfAnyTypeComputesAsItsValuesDo) {
  ThreadPool pool(2);
  for (const DType type : engine::kMatrixTypes) {
    for (const std::size_t rows : {1U, 4U, 7U, 130U}) {
      for (const std::size_t columns : {32U, 64U, 96U, 512U, 544U, 1088U}) {
        GgufTensor tensor{.name = "m", .shape = {rows, columns}, .dtype = type, .bytes = {}};
        tensor.store(type, noise(rows * columns, rows + columns));
        const std::vector<float> values = tensor.values();
        const std::vector<float> x = noise(columns, 9);
        std::vector<float> out(rows);
        std::vector<float> expected(rows);
        engine::matmul(pool, out, x, matrix_of(tensor));
        engine::matmul(pool, expected, x, engine::f32_matrix(values, rows));
        EXPECT_EQ(out, expected) << to_string(type) << ' ' << rows << ' ' << columns;
        std::vector<float> row(columns);
        engine::copy_row(row, matrix_of(tensor), rows - 1);
        EXPECT_TRUE(std::equal(row.begin(), row.end(),
                               values.end() - static_cast<std::ptrdiff_t>(columns)));
      }
    }
  }
}

TEST(Kernels, EveryHalfIsReadExactly) {
  GgufTensor tensor{.name = "m", .shape = {1, 65'536}, .dtype = DType::f16, .bytes = {}};
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    tensor.bytes += static_cast<char>(bits & 255);
    tensor.bytes += static_cast<char>(bits >> 8);
  }
  std::vector<float> out(65'536);
  engine::copy_row(out, matrix_of(tensor), 0);
  for (std::uint32_t bits = 0; bits < 65'536; ++bits) {
    const double expected = value_of_half(static_cast<std::uint16_t>(bits));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(out[bits])) << bits;
    } else {
      EXPECT_EQ(static_cast<double>(out[bits]), expected) << bits;
      EXPECT_EQ(std::signbit(out[bits]), std::signbit(expected)) << bits;
    }
  }
}

TEST(Kernels, RmsnormMayWorkInPlace) {
  const std::vector<float> x = noise(33, 1);
  const std::vector<float> weight = noise(33, 2);
  std::vector<float> out(33);
  std::vector<float> in_place = x;
  engine::rmsnorm(out, x, weight, 1e-3F);
  engine::rmsnorm(in_place, in_place, weight, 1e-3F);
  EXPECT_EQ(out, in_place);
  double squares = 0;
  for (const float value : x) squares += static_cast<double>(value) * static_cast<double>(value);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(out[i], weight[i] * x[i] / std::sqrt(squares / 33 + 1e-3), 1e-6);
  }
}

TEST(Kernels, RotationTurnsPairsAndKeepsTheirLength) {
  std::vector<float> rotation(8);
  const std::vector<float> frequencies = engine::rotary_frequencies(8, 10'000);
  engine::rotation_at(rotation, frequencies, 0);
  std::vector<float> x = noise(24, 3);
  const std::vector<float> before = x;
  engine::rotate(x, rotation);
  EXPECT_EQ(x, before);  // position 0 turns by nothing

  engine::rotation_at(rotation, frequencies, 5);
  engine::rotate(x, rotation);
  for (std::size_t i = 0; i < x.size(); i += 2) {
    const double angle = 5 / std::pow(10000.0, static_cast<double>(i % 8) / 8);
    EXPECT_NEAR(x[i], before[i] * std::cos(angle) - before[i + 1] * std::sin(angle), 1e-5);
    EXPECT_NEAR(x[i + 1], before[i] * std::sin(angle) + before[i + 1] * std::cos(angle), 1e-5);
  }
}

TEST(Kernels, SoftmaxSumsToOneAndDoesNotOverflow) {
  std::vector<float> x = {1000, 1001, -1000};
  engine::softmax(x);
  EXPECT_NEAR(x[0], 1 / (1 + std::exp(1.0)), 1e-6);
  EXPECT_NEAR(x[0] + x[1], 1, 1e-6);
  EXPECT_EQ(x[2], 0);
}

TEST(Kernels, SwigluIsSiluTimesUp) {
  std::vector<float> gate = {0, 1, -2, 100, -100};
  const std::vector<float> up = {3, 3, 3, 3, 3};
  engine::swiglu(gate, up);
  EXPECT_EQ(gate[0], 0);
  EXPECT_NEAR(gate[1], 3 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(gate[2], -6 / (1 + std::exp(2.0)), 1e-6);
  EXPECT_NEAR(gate[3], 300, 1e-4);
  EXPECT_NEAR(gate[4], 0, 1e-6);
}

// Every head mixes the values of its own KV head, whatever lies between the rows, and whatever the
// sizes of keys and values.
TEST(Kernels, AttentionReadsItsOwnKvHead) {
  constexpr std::size_t kSize = 6, kHeads = 4, kKvHeads = 2, kPositions = 300, kStride = 40;
  constexpr std::size_t kValueSize = 5, kValueStride = 11;
  const std::vector<float> value_rows = noise(kPositions * kValueStride, 6);
  const std::vector<float> rows = noise(kPositions * kStride, 4);
  const std::vector<float> query = noise(kHeads * kSize, 5);
  for (const unsigned threads : {1U, 3U}) {
    ThreadPool pool(threads);
    std::vector<float> mixed(kHeads * kValueSize);
    std::vector<float> scores(kHeads * kPositions);
    engine::attend(pool, mixed, query, scores,
                   {.keys = rows.data() + 3,
                    .values = value_rows.data() + 1,
                    .key_stride = kStride,
                    .value_stride = kValueStride,
                    .positions = kPositions},
                   {.heads = kHeads, .kv_heads = kKvHeads});
    for (std::size_t head = 0; head < kHeads; ++head) {
      const std::size_t offset = head / 2 * kSize;
      std::vector<double> weights(kPositions);
      double sum = 0;
      for (std::size_t p = 0; p < kPositions; ++p) {
        double score = 0;
        for (std::size_t i = 0; i < kSize; ++i) {
          score += static_cast<double>(query[head * kSize + i]) *
                   static_cast<double>(rows[p * kStride + 3 + offset + i]);
        }
        sum += weights[p] = std::exp(score / std::sqrt(6.0));
      }
      for (std::size_t i = 0; i < kValueSize; ++i) {
        double value = 0;
        for (std::size_t p = 0; p < kPositions; ++p) {
          const std::size_t at = p * kValueStride + 1 + head / 2 * kValueSize + i;
          value += weights[p] / sum * static_cast<double>(value_rows[at]);
        }
        EXPECT_NEAR(mixed[head * kValueSize + i], value, 1e-5);
      }
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
