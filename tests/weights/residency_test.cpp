// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace {

/// Writes all files to the disk and removes them from the page cache.
void store_and_drop(const ThreeFiles& model) {
  for (const auto& entry : std::filesystem::directory_iterator(model.path())) {
    store_and_make_cold(entry.path());
  }
}

TEST(WeightsResidency, OfMappedFilesFollowsWhatIsTouched) {
  const ThreeFiles model;
  store_and_drop(model);
  Weights weights = Weights::open(model.path(), {.way = Way::map});
  const WeightsResidency before = weights.residency();
  if (!before.present) GTEST_SKIP() << "the kernel does not report residency";
  EXPECT_EQ(*before.present, 0U);
  ASSERT_TRUE(weights.warm());
  const WeightsResidency after = weights.residency();
  EXPECT_GT(after.present.value_or(0), after.bytes / 2);  // the kernel may reclaim clean pages
  EXPECT_EQ(after.swapped.value_or(0), 0U);
  EXPECT_EQ(after.dirty.value_or(0), 0U);
  EXPECT_GE(weights.decommit(), after.bytes);
  EXPECT_EQ(weights.residency().present, 0U);
}

TEST(WeightsResidency, OfReadWeightsIsAnonymousAndDirty) {
  const ThreeFiles model;
  Weights weights = Weights::open(model.path(), {.way = Way::read});
  ASSERT_TRUE(weights.warm());
  const WeightsResidency residency = weights.residency();
  if (!residency.present) GTEST_SKIP() << "the kernel does not report residency";
  EXPECT_EQ(residency.present, residency.bytes);
  EXPECT_GE(residency.dirty.value_or(residency.bytes), residency.bytes);
  EXPECT_EQ(residency.cached, 0U);  // nothing is mapped
}

// Bytes that were in the page cache before may be of use to others, and stay.
TEST(WeightsResidency, OfReadWeightsIsNotAlsoInThePageCacheUnlessItWas) {
  constexpr std::uint64_t kBytes = 64_MiB;
  const TempFolder folder;
  const auto path = make_file(folder, "a.safetensors", {.sizes = {kBytes / 2, 7, kBytes / 2}});
  store_and_make_cold(path);
  const auto cached_after_warm = [&] {
    Weights weights = Weights::open(path, {.way = Way::read});
    EXPECT_TRUE(weights.warm({.threads = 1}));
    EXPECT_TRUE(all_right(weights));
    return Weights::open(path, {.way = Way::read}).files()[0].cached;
  };
  const auto before = Weights::open(path, {.way = Way::read}).files()[0].cached;
  if (before.value_or(kBytes) > kBytes / 4)
    GTEST_SKIP() << "the file is or may be in the page cache";
  EXPECT_LT(cached_after_warm().value_or(kBytes), kBytes / 4);  // the header's chunk was there
  ASSERT_TRUE(Weights::open(path, {.way = Way::map}).warm());
  EXPECT_GT(cached_after_warm().value_or(0), kBytes / 2);
}

TEST(WeightsResidency, TellsThePageCacheApart) {
  const ThreeFiles model;
  store_and_drop(model);
  Weights weights = Weights::open(model.path(), {.way = Way::map});
  const auto cold = weights.residency().cached;
  if (!cold) GTEST_SKIP() << "the kernel does not report residency";
  ASSERT_TRUE(weights.warm());
  EXPECT_LT(*cold, weights.residency().bytes / 2);  // headers were read
  static_cast<void>(weights.decommit());
  // The kernel may reclaim clean pages that nothing maps.
  EXPECT_GT(weights.residency().cached.value_or(0), weights.residency().bytes / 2);
}

TEST(WeightsResidency, IsToldByFileAndByTensors) {
  const ThreeFiles model;
  Weights weights = Weights::open(model.path(), {.way = Way::read});
  std::uint64_t sum = 0;
  for (std::size_t file = 0; file < 3; ++file) sum += weights.residency_of_file(file).bytes;
  EXPECT_EQ(sum, weights.residency().bytes);
  const std::vector<std::uint32_t> some = {0, 2};
  ASSERT_TRUE(weights.warm());
  const WeightsResidency of_some = weights.residency_of(some);
  // Neighbors are checked as one range, including the three bytes between them.
  EXPECT_EQ(of_some.bytes, 9'000'001U + 3 + 4096);
  EXPECT_EQ(of_some.present.value_or(of_some.bytes), of_some.bytes);
  EXPECT_THROW(static_cast<void>(weights.residency_of_file(3)), InvalidArgument);
  const std::vector<std::uint32_t> none_such = {1000};
  EXPECT_THROW(static_cast<void>(weights.residency_of(none_such)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(weights.decommit(none_such)), InvalidArgument);
  EXPECT_TRUE(weights.readable(0));
}

TEST(WeightsResidency, GoesWithTheTensorsThatAreGivenBack) {
  const ThreeFiles model;
  Weights weights = Weights::open(model.path(), {.way = Way::read});
  ASSERT_TRUE(weights.warm());
  // 20,000,000 bytes, so one chunk is entirely its own.
  const std::vector<std::uint32_t> large = {3};
  const std::uint64_t given_back = weights.decommit(large);
  EXPECT_FALSE(weights.readable(3));
  EXPECT_TRUE(weights.readable(0));
  EXPECT_TRUE(weights.readable(6));  // after it, in the same file
  EXPECT_GE(given_back, 8'000'000U);
  EXPECT_THROW(static_cast<void>(weights.all_bytes()), WrongState);
  EXPECT_TRUE(weights.warm());
  const auto all = weights.all_bytes();
  ASSERT_EQ(all.size(), weights.size());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].data(), weights[i].bytes.data());
  EXPECT_TRUE(holds_its_files(weights));
}

}  // namespace
}  // namespace tapedeck::tests
