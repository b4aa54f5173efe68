// SPDX-License-Identifier: Apache-2.0
// How an engine gets at rows and weights of a layout, on the host and on a device.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/thrown.hpp"
#include "layout/cache_region.hpp"
#include "layout/side_kinds.hpp"
#include "layout/side_plan.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

template <class Kind>
class SideAccess : public ::testing::Test {};
TYPED_TEST_SUITE(SideAccess, SideKinds);

// Regression: a row that does not exist was a division by 0, or other bytes.
TYPED_TEST(SideAccess, ARowThatDoesNotExistIsRefused) {
  Plan plan = side_plan();
  Region empty = cache_region("layers.3.k", RegionRole::window, 1, 64);
  empty.growth.capacity = 0;  // a cache of no tokens
  plan.history.append(std::move(empty));
  TypeParam side(std::move(plan), {.commit = Commit::at_creation});
  const auto regions = side.layout.plan().history.regions();
  auto talk = side.layout.talk(0);
  (void)talk.advance(kSideWindow + 1);
  struct Row {
    std::size_t region;
    std::uint64_t token;
    std::string argument;
    std::optional<std::uint64_t> limit;
  };
  for (const Row& row : {Row{0, kSideWindow + 1, "token", kSideWindow},
                         Row{0, ~std::uint64_t{0}, "token", kSideWindow},
                         Row{2, kSideWindow + 1, "token", kSideWindow},
                         Row{3, 0, "region", std::nullopt}, Row{4, 0, "region", std::nullopt}}) {
    const auto refused =
        thrown<InvalidArgument>([&] { (void)talk.row(regions[row.region], row.token); });
    EXPECT_EQ(refused.argument(), row.argument) << row.region;
    EXPECT_EQ(refused.limit(), row.limit) << row.region;
  }
  Region changed = regions[0];
  changed.growth = {.bytes_per_token = 64, .capacity = ~std::uint64_t{0}};  // not as planned
  EXPECT_EQ(talk.row(changed, 1).data(), talk.row(regions[0], 1).data());
  EXPECT_EQ(talk.row(changed, 1).size(), kSideRow);
  talk.clear();
  const auto none = thrown<InvalidArgument>([&] { (void)talk.row(regions[0], 0); });
  EXPECT_EQ(none.argument(), "token");
  EXPECT_EQ(none.limit(), std::nullopt);
}

TYPED_TEST(SideAccess, WeightsThatAreReadAreConst) {
  TypeParam side(side_plan(), {.commit = Commit::at_creation});
  auto& layout = side.layout;
  const auto& reader = std::as_const(layout);
  for (const Region& one : layout.plan().weights.regions()) {
    const auto filled_in = layout.template weights_at<float>(one);
    const auto read = reader.template weights_at<float>(one);
    const auto asked = layout.template weights_at<const float>(one);
    static_assert(std::is_same_v<decltype(filled_in.data()), float*>);
    static_assert(std::is_same_v<decltype(read.data()), const float*>);
    static_assert(std::is_same_v<decltype(asked.data()), const float*>);
    EXPECT_EQ(read.data(), filled_in.data());
    EXPECT_EQ(asked.data(), filled_in.data());
    EXPECT_EQ(read.size(), one.bytes / sizeof(float));
    EXPECT_EQ(asked.size(), read.size());
    EXPECT_EQ(reader.weights_at(one).size(), one.bytes);
    EXPECT_THROW((void)reader.template weights_at<double>(one), InvalidArgument);
  }
}

}  // namespace
}  // namespace tapedeck::tests
