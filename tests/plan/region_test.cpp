// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/region.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "plan/refused.hpp"

namespace tapedeck::tests {
namespace {

TEST(TapePlan, OfNothingIsEmpty) {
  const TapePlan plan(TapeKind::scratch);
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.bytes(), 0U);
  EXPECT_EQ(plan.payload(), 0U);
  EXPECT_EQ(plan.alignment(), 64U);
  EXPECT_EQ(plan.find("a"), nullptr);
}

TEST(TapePlan, AppendsBehindAllAtTheAlignment) {
  TapePlan plan(TapeKind::scratch);
  plan.append({.name = "a", .bytes = 10});
  plan.append({.name = "b", .bytes = 100, .alignment = 256});
  plan.append({.name = "c", .bytes = 1});
  EXPECT_EQ(plan.find("a")->offset, 0U);
  EXPECT_EQ(plan.find("b")->offset, 256U);
  EXPECT_EQ(plan.find("c")->offset, 384U);  // 356, rounded up to whole lines
  EXPECT_EQ(plan.payload(), 111U);
  EXPECT_EQ(plan.bytes(), 448U);  // 385, rounded up to whole lines
  EXPECT_EQ(plan.alignment(), 256U);
}

TEST(TapePlan, PlacesRegionsOverOthers) {
  TapePlan plan(TapeKind::scratch);
  plan.place({.name = "late", .offset = 128, .bytes = 64, .live = {1, 2}});
  plan.place({.name = "early", .bytes = 256, .live = {0, 1}});
  EXPECT_EQ(plan.payload(), 320U);
  EXPECT_EQ(plan.bytes(), 256U);
  plan.append({.name = "behind", .bytes = 1});
  EXPECT_EQ(plan.find("behind")->offset, 256U);
}

TEST(TapePlan, SumsUpByRole) {
  TapePlan plan(TapeKind::scratch);
  plan.append({.name = "k", .role = RegionRole::kv, .bytes = 3});
  plan.append({.name = "s", .role = RegionRole::recurrent, .bytes = 5});
  plan.append({.name = "v", .role = RegionRole::kv, .bytes = 7});
  EXPECT_EQ(plan.payload(RegionRole::kv), 10U);
  EXPECT_EQ(plan.payload(RegionRole::recurrent), 5U);
  EXPECT_EQ(plan.payload(RegionRole::window), 0U);
}

TEST(TapePlan, RefusesWhatMakesNoSense) {
  TapePlan plan(TapeKind::scratch);
  const auto refused_region = [&](const Region& region, bool placed = false) {
    return refused([&] { placed ? plan.place(region) : plan.append(region); });
  };
  EXPECT_EQ(refused_region({.name = "", .bytes = 1}), Refused{"Region::name"});
  EXPECT_EQ(refused_region({.name = "a", .alignment = 0}), (Refused{"Region::alignment", 0}));
  EXPECT_EQ(refused_region({.name = "a", .alignment = 96}), (Refused{"Region::alignment", 96}));
  EXPECT_EQ(refused_region({.name = "a", .offset = 32}, true), (Refused{"Region::offset", 32}));
  const std::uint64_t large = std::uint64_t{1} << 40;
  EXPECT_EQ(refused_region({.name = "a", .bytes = 1000, .growth = {100, 11}}),
            (Refused{"Region::growth", 1100, 1000}));
  EXPECT_EQ(refused_region({.name = "a", .bytes = 1000, .growth = {large, large}}),
            (Refused{"Region::growth", std::nullopt, 1000}));
  EXPECT_TRUE(plan.empty());
  plan.append({.name = "a", .bytes = 1000, .growth = {100, 10}});
  EXPECT_EQ(refused_region({.name = "a"}), Refused{"Region::name"});  // the plan has one already
  EXPECT_EQ(plan.regions().size(), 1U);
  EXPECT_EQ(plan.payload(), 1000U);
}

TEST(TapePlan, RefusesWhatDoesNotFit) {
  TapePlan plan(TapeKind::scratch);
  const auto refused_bytes = [&](std::uint64_t bytes, std::uint64_t alignment = 64) {
    return refused([&] { plan.append({.name = "b", .bytes = bytes, .alignment = alignment}); });
  };
  EXPECT_EQ(refused_bytes(kMost), (Refused{"Region::bytes", kMost}));
  // Its end fits, but the end of its last line does not.
  EXPECT_EQ(refused_bytes(kMost - 62), (Refused{"Region::bytes", kMost - 62}));
  plan.append({.name = "a", .bytes = kMost - 63});
  EXPECT_EQ(plan.bytes(), kMost - 63);
  EXPECT_EQ(refused_bytes(1), (Refused{"Region::bytes", 1}));
  EXPECT_EQ(refused_bytes(1, std::uint64_t{1} << 63U), (Refused{"Region::bytes", 1}));
  // The extents, which overlap, fit; the sum of bytes does not.
  EXPECT_THROW(plan.place({.name = "b", .bytes = 128}), InvalidArgument);
  EXPECT_EQ(plan.regions().size(), 1U);
}

TEST(RegionRole, HasNames) {
  EXPECT_STREQ(to_string(RegionRole::weight), "weight");
  EXPECT_STREQ(to_string(RegionRole::kv), "kv");
  EXPECT_STREQ(to_string(RegionRole::window), "window");
  EXPECT_STREQ(to_string(RegionRole::recurrent), "recurrent");
  EXPECT_STREQ(to_string(RegionRole::decode), "decode");
  EXPECT_STREQ(to_string(RegionRole::prefill), "prefill");
}

TEST(TapePlan, FindsARegionByNameAndByWhatItIs) {
  TapePlan plan(TapeKind::history);
  plan.append({.id = {.layer = 1, .part = Part::key_cache}, .name = "a", .bytes = 64});
  plan.append({.id = {.layer = 1, .part = Part::value_cache}, .name = "b", .bytes = 64});
  EXPECT_EQ(plan.find(PartId{.layer = 1, .part = Part::value_cache}), &plan.regions()[1]);
  EXPECT_EQ(plan.find(PartId{.layer = 2, .part = Part::value_cache}), nullptr);
  EXPECT_EQ(&plan.at("a"), plan.find("a"));
  EXPECT_EQ(plan.find("c"), nullptr);
  EXPECT_EQ(refused([&] { return plan.at("c"); }), Refused{"name"});
}

TEST(TapePlan, HasADigestOfAllThatLaysItOut) {
  const auto digest = [](const Region& region, TapeKind kind = TapeKind::history) {
    TapePlan plan(kind);
    plan.append(region);
    EXPECT_EQ(plan.regions()[0].plan_digest, plan.digest());
    EXPECT_EQ(plan.regions()[0].tape, kind);
    return plan.digest();
  };
  const Region region{.name = "a", .bytes = 64};
  EXPECT_EQ(digest(region), digest(region));
  EXPECT_NE(digest(region), digest(region, TapeKind::scratch));
  EXPECT_NE(digest(region), digest({.name = "b", .bytes = 64}));
  EXPECT_NE(digest(region), digest({.name = "a", .bytes = 65}));
  EXPECT_NE(digest(region), digest({.name = "a", .bytes = 64, .alignment = 128}));
  EXPECT_NE(digest(region), digest({.name = "a", .bytes = 64, .dtype = DType::f16}));
  EXPECT_NE(digest(region), digest({.name = "a", .bytes = 64, .shape = {16}}));
  EXPECT_NE(digest(region), digest({.name = "a", .bytes = 64, .live = {0, 1}}));
  EXPECT_NE(digest(region), digest({.name = "a", .bytes = 64, .growth = {1, 64}}));
}

// A region of a plan is still valid when the plan grows after it. A region of a plan that differs
// before it is a different region.
TEST(TapePlan, ARegionCarriesTheDigestUpToItself) {
  TapePlan plan(TapeKind::history);
  plan.append({.name = "a", .bytes = 64});
  const Region first = plan.regions()[0];
  plan.append({.name = "b", .bytes = 64});
  EXPECT_EQ(&internal::planned_region<std::byte>(plan, first), &plan.regions()[0]);
  TapePlan other(TapeKind::history);
  other.append({.name = "c", .bytes = 64});
  other.append({.name = "b", .bytes = 64});
  EXPECT_EQ(other.regions()[1].offset, plan.regions()[1].offset);
  EXPECT_EQ(refused([&] { return internal::planned_region<std::byte>(plan, other.regions()[1]); }),
            Refused{"region"});
}

}  // namespace
}  // namespace tapedeck::tests
