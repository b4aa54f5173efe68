// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/weights_builder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "os/huge_page_pool.hpp"
#include "os/self.hpp"
#include "os/socket_pair.hpp"
#include "tapedeck/base/error.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

const std::vector<TensorSpec> kSpecs = {
    {.name = "a", .dtype = DType::f32, .shape = {3, 5}},
    {.name = "b.q8", .dtype = DType::q8_0, .shape = {2, 64}},
    {.name = "nothing", .dtype = DType::f16, .shape = {0, 7}},
    {.name = "one", .dtype = DType::f64, .shape = {}},
    {.name = "f8", .dtype = DType::f8_e4m3, .shape = {70'001}},
};

Weights build(std::uint64_t seed, const WeightsBuilderOptions& options = {}) {
  WeightsBuilder builder(kSpecs, options);
  for (std::size_t i = 0; i < kSpecs.size(); ++i) {
    const std::span<std::byte> bytes = builder.bytes(i);
    Pattern(seed + i).write(bytes.data(), bytes.size());
  }
  return std::move(builder).seal();
}

void expect_built(const Weights& weights, std::uint64_t seed) {
  ASSERT_EQ(weights.size(), kSpecs.size());
  for (std::size_t i = 0; i < kSpecs.size(); ++i) {
    const TensorView view = weights.at(kSpecs[i].name);
    EXPECT_EQ(view.dtype, kSpecs[i].dtype);
    EXPECT_TRUE(std::equal(view.shape.begin(), view.shape.end(), kSpecs[i].shape.begin(),
                           kSpecs[i].shape.end()));
    EXPECT_TRUE(Pattern(seed + i).is_at(view.bytes.data(), view.bytes.size()));
    EXPECT_TRUE(view.aligned);
    EXPECT_TRUE(weights.readable(i));
  }
}

TEST(WeightsBuilder, MakesWeightsOfAllTypes) {
  const Weights weights = build(1);
  expect_built(weights, 1);
  EXPECT_EQ(weights.at("a").as<float>().size(), 15U);
  EXPECT_EQ(weights.files().front().way, Way::shared);
}

TEST(WeightsBuilder, SealsWhatItMade) {
  const Weights weights = build(2);
  EXPECT_EQ(::ftruncate(weights.descriptor(), 0), -1);
  EXPECT_EQ(::ftruncate(weights.descriptor(), 1 << 30), -1);
  EXPECT_EQ(::pwrite(weights.descriptor(), "x", 1, 0), -1);
  void* const at =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, weights.descriptor(), 0);
  EXPECT_EQ(at, MAP_FAILED);
}

TEST(WeightsBuilder, MakesWeightsThatWarmLikeOthers) {
  Weights weights = build(3);
  const WarmResult warmed = weights.warm();
  EXPECT_TRUE(warmed);
  EXPECT_EQ(warmed.present.value_or(weights.range().size()), weights.range().size());
  EXPECT_EQ(weights.decommit(), 0U);  // other processes use the pages, too
  expect_built(weights, 3);
}

TEST(WeightsBuilder, MakesWeightsThatTravel) {
  const NothingLeft check;
  const SocketPair sockets;
  {
    const Weights owner = build(4, {.name = "merged"});
    owner.send(sockets[0]);
  }
  const Weights reader = Weights::receive(sockets[1]);
  expect_built(reader, 4);
  EXPECT_EQ(reader.files().front().path, "shared:merged");
  reader.send(sockets[1]);  // and passes them on
  expect_built(Weights::receive(sockets[0]), 4);
}

TEST(WeightsBuilder, TakesPagesOfThePool) {
  const HugePagePool pool(2);
  if (!pool.ready()) GTEST_SKIP() << "no pool of huge pages";
  const Weights weights = build(5, {.huge_pages = HugePages::explicit_pages});
  EXPECT_TRUE(weights.unmet().empty());
  expect_built(weights, 5);
}

TEST(WeightsBuilder, SaysWhenThePoolIsTooSmall) {
  const HugePagePool pool(0);
  if (pool_free() > 0) GTEST_SKIP() << "the host has a pool of huge pages";
  const Weights weights = build(6, {.huge_pages = HugePages::explicit_pages});
  ASSERT_EQ(weights.unmet().size(), 1U);
  EXPECT_EQ(weights.unmet().front().wish, Wish::huge_pages);
  expect_built(weights, 6);
}

TEST(WeightsBuilder, RefusesWhatCannotBeStored) {
  const auto argument = [](const std::vector<TensorSpec>& specs) {
    return thrown<InvalidArgument>([&] { const WeightsBuilder builder(specs); }).argument();
  };
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;
  EXPECT_EQ(argument({}), "tensors");
  EXPECT_EQ(argument({{.name = "x", .shape = {1}}, {.name = "x", .shape = {1}}}),
            "TensorSpec::name");
  EXPECT_EQ(argument({{.name = "x", .dtype = DType::q8_0, .shape = {33}}}), "TensorSpec::shape");
  EXPECT_EQ(argument({{.name = "x", .shape = {kHuge, kHuge}}}), "TensorSpec::shape");
  EXPECT_EQ(argument({{.name = "x", .shape = {1, 1, 1, 1, 1, 1, 1, 1, 1}}}), "TensorSpec::shape");
  EXPECT_EQ(argument({{.name = "\xff", .shape = {1}}}), "TensorSpec::name");
}

TEST(WeightsBuilder, OfMoreThanThereAreAddressesSaysSo) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;
  const NothingLeft check;
  EXPECT_THROW(WeightsBuilder({{.name = "x", .dtype = DType::u8, .shape = {kHuge}}}), Error);
}

TEST(Weights, OfFilesAreNotSent) {
  const ThreeFiles model;
  const SocketPair sockets;
  EXPECT_THROW(Weights::open(model.path()).send(sockets[0]), InvalidArgument);
}

}  // namespace
}  // namespace tapedeck::tests
