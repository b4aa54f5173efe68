// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/tensor_directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "model/counting_heap.hpp"
#include "model/tensor_directory_builder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;

TensorEntry f32(std::string_view name, std::uint64_t offset, std::uint64_t elements) {
  TensorEntry entry{.name = name, .rank = 1, .offset = offset, .bytes = 4 * elements};
  entry.dimensions[0] = elements;
  return entry;
}

TEST(TensorEntry, CountsItsElements) {
  TensorEntry entry;
  EXPECT_EQ(entry.elements(), 1U);
  entry.rank = 3;
  entry.dimensions = {2, 3, 4, 99};
  EXPECT_EQ(entry.elements(), 24U);
  entry.dimensions[1] = 0;
  EXPECT_EQ(entry.elements(), 0U);
}

TEST(TensorDirectory, FindsEachOfManyByName) {
  internal::TensorDirectoryBuilder builder;
  builder.begin_file({.path = "a"});
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const std::string name = "layers." + std::to_string(i * 7919 % 1000);
    builder.add(f32(name, i * 4, 1), i);
  }
  const TensorDirectory tensors = std::move(builder).finish();
  std::set<const TensorEntry*> found;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "layers." + std::to_string(i);
    const TensorEntry* entry = tensors.find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->name, name);
    found.insert(entry);
  }
  EXPECT_EQ(found.size(), 1000U);
  EXPECT_EQ(tensors.find("layers.1000"), nullptr);
  EXPECT_EQ(tensors.find("layers"), nullptr);
  EXPECT_EQ(TensorDirectory().find("layers.0"), nullptr);
  EXPECT_EQ(tensors.bytes(), 4000U);
  EXPECT_EQ(tensors.elements(), 1000U);
}

TEST(TensorDirectory, ItsNamesLiveAsLongAsACopy) {
  TensorDirectory copy;
  {
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({});
    builder.add(f32(std::string(100'000, 'n'), 0, 1), 0);
    builder.add(f32("short", 4, 1), 0);
    const TensorDirectory tensors = std::move(builder).finish();
    copy = tensors;
  }
  EXPECT_EQ(copy.entries()[0].name, std::string(100'000, 'n'));
  EXPECT_EQ(copy.entries()[1].name, "short");
}

TEST(TensorDirectory, ATwinIsNamedWithItsFileAndPlace) {
  internal::TensorDirectoryBuilder builder;
  builder.begin_file({.path = "one"});
  builder.add(f32("a", 0, 1), 11);
  builder.begin_file({.path = "two"});
  builder.add(f32("b", 0, 1), 22);
  builder.add(f32("a", 4, 1), 33);
  const auto error = thrown<FormatError>([&] { static_cast<void>(std::move(builder).finish()); });
  EXPECT_EQ(error.path(), "two");
  EXPECT_EQ(error.offset(), 33U);
  EXPECT_EQ(error.field(), "a");
  EXPECT_EQ(error.fault(), FormatFault::contradictory);
}

TEST(TensorDirectory, SumsThatOverflowAreRefused) {
  const std::uint64_t half = 1ULL << 63;
  internal::TensorDirectoryBuilder builder;
  for (const char* name : {"a", "b"}) {
    builder.begin_file({.path = name});
    TensorEntry entry{.name = name, .dtype = DType::u8, .rank = 1, .bytes = half};
    entry.dimensions[0] = half;
    builder.add(entry, 0);
  }
  const auto error = thrown<FormatError>([&] { static_cast<void>(std::move(builder).finish()); });
  EXPECT_EQ(error.fault(), FormatFault::out_of_range);
}

TEST(TensorDirectory, EachTypeHasItsNaturalAlignment) {
  for (const auto& [type, alignment] :
       std::vector<std::pair<DType, std::uint64_t>>{{DType::f32, 4},
                                                    {DType::bf16, 2},
                                                    {DType::f64, 8},
                                                    {DType::i8, 1},
                                                    {DType::q4_0, 2},
                                                    {DType::q4_k, 4},
                                                    {DType::q8_k, 4},
                                                    {DType::q6_k, 2},
                                                    {DType::f4, 1},
                                                    {DType::f6_e2m3, 1},
                                                    {DType::mxfp4, 1}}) {
    SCOPED_TRACE(to_string(type));
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({});
    for (const std::uint64_t distance : {std::uint64_t{0}, alignment, alignment / 2}) {
      const std::string name(builder.tensors().size() + 1, 'n');
      builder.add({.name = name, .dtype = type, .offset = 16 + distance}, 0);
    }
    const TensorDirectory tensors = std::move(builder).finish();
    for (const TensorEntry& tensor : tensors.entries()) {
      EXPECT_EQ(tensor.aligned, tensor.offset % alignment == 0) << tensor.offset;
    }
  }
}

TEST(TensorDirectory, TensorsAreVisitedInTheOrderOfTheirData) {
  internal::TensorDirectoryBuilder builder;
  builder.begin_file({});
  builder.add(f32("first file", 100, 1), 0);
  builder.begin_file({});
  builder.add(f32("c", 8, 2), 3);
  builder.add(f32("empty", 8, 0), 2);
  builder.add(f32("a", 0, 2), 1);
  std::vector<std::string> names;
  std::vector<std::uint64_t> places;
  builder.in_order_of_data([&](const TensorEntry& tensor, std::uint64_t place) {
    names.emplace_back(tensor.name);
    places.push_back(place);
  });
  EXPECT_THAT(names, ElementsAre("a", "empty", "c"));
  EXPECT_THAT(places, ElementsAre(1U, 2U, 3U));
}

TEST(TensorDirectory, AnyTruncatedFileMakesItTruncated) {
  internal::TensorDirectoryBuilder builder;
  builder.begin_file({.size = 10, .data_begin = 8, .data_end = 10});
  builder.begin_file({.size = 69, .data_begin = 96, .data_end = 96});  // only padding is missing
  EXPECT_FALSE(internal::TensorDirectoryBuilder(std::move(builder)).finish().truncated());
  internal::TensorDirectoryBuilder second;
  second.begin_file({.size = 10, .data_begin = 8, .data_end = 11});
  second.begin_file({.size = 10, .data_begin = 8, .data_end = 10});
  EXPECT_TRUE(std::move(second).finish().truncated());
}

// A file that claims a billion tensors but has one causes only a small allocation.
TEST(TensorDirectory, AnExpectationIsNoAllocation) {
  const HeapUse heap = heap_use([] {
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({});
    builder.expect(1'000'000'000);
    builder.add(f32("a", 0, 1), 0);
    static_cast<void>(std::move(builder).finish());
  });
  EXPECT_LE(heap.peak, 64_KiB);
}

TEST(TensorDirectory, RightExpectationsMakeGrowingCheap) {
  constexpr std::uint64_t kTensors = 50'000;
  const HeapUse heap = heap_use([&] {
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({});
    builder.expect(kTensors);
    for (std::uint64_t i = 0; i < kTensors; ++i) builder.add(f32(std::to_string(i), i, 1), i);
    static_cast<void>(std::move(builder).finish());
  });
  EXPECT_LE(heap.peak, kTensors * 2 * sizeof(TensorEntry));
}

}  // namespace
}  // namespace tapedeck::tests
