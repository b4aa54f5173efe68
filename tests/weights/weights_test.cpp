// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/weights.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "model/shared_data.hpp"
#include "os/huge_page_pool.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

class WeightsWays : public testing::TestWithParam<Way> {
 protected:
  [[nodiscard]] Weights open() const { return Weights::open(model_.path(), {.way = GetParam()}); }

  ThreeFiles model_;
};
INSTANTIATE_TEST_SUITE_P(Ways, WeightsWays, testing::ValuesIn(kWays), name_of_way);

TEST_P(WeightsWays, GiveTheBytesOfAllFilesAndKeepTheirAddresses) {
  Weights weights = open();
  const auto* const before = weights[0].bytes.data();
  for (int time = 0; time < 2; ++time) {
    const WarmResult warmed = weights.warm();
    EXPECT_TRUE(warmed);
    EXPECT_EQ(warmed.warmed, warmed.asked);
    EXPECT_TRUE(holds_its_files(weights));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_TRUE(weights.readable(i));
      EXPECT_TRUE(weights.warmed(i));
    }
    EXPECT_EQ(weights[0].bytes.data(), before);
    static_cast<void>(weights.decommit());
    EXPECT_FALSE(weights.warmed(0));
  }
}

TEST_P(WeightsWays, GiveTheBytesOfEverySharedFile) {
  std::size_t seen = 0;
  for (const char* folder : {"gguf", "safetensors"}) {
    for (const IndexRow& row : index_of(folder)) {
      const std::filesystem::path path = shared_data(folder) / row.at("file");
      SCOPED_TRACE(path.string());
      const Model model = read_model(path);
      if (model.tensors.empty()) {
        EXPECT_THROW(static_cast<void>(Weights::open(path)), InvalidArgument);
        continue;
      }
      if (model.tensors.truncated()) {
        EXPECT_THROW(static_cast<void>(Weights::open(path, {.way = GetParam()})), FormatError);
        continue;
      }
      Weights weights = Weights::open(model, {.way = GetParam()});
      EXPECT_TRUE(weights.warm());
      EXPECT_TRUE(holds_its_files(weights));
      ++seen;
    }
  }
  if (seen == 0) GTEST_SKIP() << "no " << shared_data("gguf");
  EXPECT_GT(seen, 30U);
}

TEST_P(WeightsWays, AreTensorsOfOneRange) {
  const Weights weights = open();
  const std::span<const std::byte> range = weights.range();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::span<const std::byte> bytes = weights[i].bytes;
    EXPECT_GE(bytes.data(), range.data());
    EXPECT_LE(bytes.data() + bytes.size(), range.data() + range.size());
    EXPECT_EQ(weights.tensors().entries()[i].name, weights[i].name);
  }
}

TEST_P(WeightsWays, LeaveNothingBehind) {
  // A thread leaves its stack and its heap to the C library, which reuses them.
  static_cast<void>(open().warm({.threads = 1}));
  const NothingLeft check;
  Weights weights = open();
  static_cast<void>(weights.warm({.threads = 1}));
  static_cast<void>(weights.lock());
}

TEST_P(WeightsWays, CanBeLockedAndGivenBackAllTheSame) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  Weights weights = open();
  if (!weights.lock()) GTEST_SKIP() << weights.unmet().front().text;
  EXPECT_GE(number_of("/proc/self/status", "VmLck:") * 1024, weights.residency().bytes);
  ASSERT_TRUE(weights.warm());
  static_cast<void>(weights.decommit());
  EXPECT_EQ(number_of("/proc/self/status", "VmLck:"), 0U);
  ASSERT_TRUE(weights.warm());
  EXPECT_TRUE(holds_its_files(weights));
}

/// Weights of three files.
class WeightsOfFiles : public testing::Test {
 protected:
  [[nodiscard]] Weights open(const WeightsOptions& options = {}) const {
    return Weights::open(model_.path(), options);
  }

  ThreeFiles model_;
};

TEST_F(WeightsOfFiles, OfAMovedObjectStayWhereTheyAre) {
  Weights first = open({.way = Way::read});
  ASSERT_TRUE(first.warm());
  const auto* const at = first[0].bytes.data();
  const Weights second = std::move(first);
  EXPECT_EQ(second[0].bytes.data(), at);
  EXPECT_TRUE(holds_its_files(second));
}

TEST_F(WeightsOfFiles, ThatAreReadAreNotReadableBeforeTheyAreWarm) {
  const Weights read = open({.way = Way::read});
  EXPECT_FALSE(read.readable(0));
  const Weights mapped = open({.way = Way::map});
  EXPECT_TRUE(mapped.readable(0));
  EXPECT_FALSE(mapped.warmed(0));
  EXPECT_TRUE(holds_its_files(mapped));
}

TEST_F(WeightsOfFiles, ThatWereMovedFromAreEmpty) {
  Weights weights = open();
  const Weights moved = std::move(weights);
  const std::uint32_t first = 0;
  const std::vector<std::function<void()>> members = {
      [&] { weights.send(0); },  // NOLINT(bugprone-use-after-move)
      [&] { return weights.descriptor(); },
      [&] { return weights.tensors(); },
      [&] { return weights.size(); },
      [&] { return weights[0]; },
      [&] { return weights.find("layers.1.3"); },
      [&] { return weights.at("layers.1.3"); },
      [&] { return weights.all_bytes(); },
      [&] { return weights.files(); },
      [&] { return weights.range(); },
      [&] { return weights.tensor("layers.1.3"); },
      [&] { return weights.unmet(); },
      [&] { return weights.readable(0); },
      [&] { return weights.warmed(0); },
      [&] { return weights.warm(); },
      [&] { return weights.start_warm(); },
      [&] { return weights.residency(); },
      [&] { return weights.residency_of_file(0); },
      [&] {
        return weights.residency_of({&first, 1});
      },
      [&] { return weights.lock(); },
      [&] { return weights.decommit(); },
      [&] {
        return weights.decommit({&first, 1});
      },
      [&] { Layout(Plan(), {.loaded_weights = &weights}); },
  };
  for (std::size_t i = 0; i < members.size(); ++i) {
    EXPECT_EQ(thrown<WrongState>(members[i]).state(), ObjectState::empty) << "member " << i;
  }
  weights = open();
  EXPECT_EQ(weights.size(), moved.size());
}

TEST_F(WeightsOfFiles, AreFoundByName) {
  const Weights weights = open();
  EXPECT_EQ(weights.at("layers.1.3").bytes.size(), 77U);
  EXPECT_EQ(weights.find("layers.9.0"), std::nullopt);
  EXPECT_THROW(static_cast<void>(weights.at("layers.9.0")), InvalidArgument);
}

TEST_F(WeightsOfFiles, SayWhichWayEachFileCame) {
  const Weights weights = open();
  ASSERT_EQ(weights.files().size(), 3U);
  for (const WeightsFile& file : weights.files()) {
    EXPECT_NE(file.way, Way::automatic);
    EXPECT_FALSE(file.why.empty());
    EXPECT_EQ(file.bytes, std::filesystem::file_size(file.path));
  }
}

TEST_F(WeightsOfFiles, CannotBeOpenedAsShared) {
  EXPECT_THROW(static_cast<void>(open({.way = Way::shared})), InvalidArgument);
}

// The plan's offsets differ from those in the file, which begins with a header.
TEST(Weights, ThatALayoutWasLentAnswerEachRegionWithItsOwnTensor) {
  const std::filesystem::path file = shared_data("gguf/stories260K-F16.gguf");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  const Model model = read_model(file);
  const Weights weights = Weights::open(model, {.way = Way::map});
  const Plan plan = make_plan(model, {.total_context = 64});
  Layout layout(plan, {.commit = Commit::nothing, .loaded_weights = &weights});
  for (const Region& region : plan.weights.regions()) {
    const TensorView tensor = weights.at(region.name);
    EXPECT_EQ(layout.weights_at(region).data(), tensor.bytes.data()) << region.name;
    EXPECT_EQ(layout.weights_at(region).size(), tensor.bytes.size()) << region.name;
    if (region.dtype == DType::f16) {
      EXPECT_THROW(static_cast<void>(layout.weights_at<float>(region)), InvalidArgument);
      EXPECT_EQ(layout.weights_at<std::uint16_t>(region).size(), region.bytes / 2);
    }
  }
}

TEST(Weights, OfAnotherModelAreRefusedByALayout) {
  const std::filesystem::path file = shared_data("gguf/stories260K-F16.gguf");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  const Plan plan = make_plan(read_model(file), {.total_context = 64});
  const ThreeFiles without;
  for (const std::filesystem::path& other : {without.path(), shared_data("gguf/stories260K.gguf"),
                                             shared_data("gguf/stories260K-BF16.gguf")}) {
    const Weights weights = Weights::open(other, {.way = Way::map});
    const auto error = thrown<InvalidArgument>(
        [&] { Layout(plan, {.commit = Commit::nothing, .loaded_weights = &weights}); });
    EXPECT_EQ(error.argument(), "LayoutOptions::loaded_weights") << other;
  }
}

// A file may place its tensors anywhere. As bytes they are accessible, as floats they are not.
TEST(Weights, ThatAreMisalignedAreRefusedAsFloatsByALayout) {
  const TempFolder folder;
  const Weights weights = Weights::open(
      make_file(folder, "a.safetensors", {.sizes = {4, 8000}, .dtype = "F32", .skew = 3}),
      {.way = Way::map});
  Plan plan;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    ASSERT_FALSE(weights[i].aligned);
    plan.weights.append({.name = std::string(weights[i].name),
                         .bytes = weights[i].bytes.size(),
                         .dtype = DType::f32});
  }
  Layout layout(plan, {.loaded_weights = &weights});
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const Region& region = plan.weights.regions()[i];
    EXPECT_EQ(layout.weights_at(region).data(), weights[i].bytes.data());
    const auto as_floats = [&] { static_cast<void>(layout.weights_at<float>(region)); };
    EXPECT_EQ(thrown<InvalidArgument>(as_floats).limit(), alignof(float));
  }
}

TEST_F(WeightsOfFiles, ServeSeveralLayouts) {
  Weights weights = open();
  Plan plan;
  plan.weights.append({.name = "layers.1.3", .bytes = 77, .dtype = weights.at("layers.1.3").dtype});
  plan.scratch.append({.name = "x", .role = RegionRole::decode, .bytes = 1_KiB});
  const Layout first(plan, {.loaded_weights = &weights});
  Layout second(plan, {.loaded_weights = &weights});
  EXPECT_EQ(first.stat().weights.reserved, weights.range().size());
  EXPECT_EQ(second.stat().weights.used, weights.range().size());
  EXPECT_EQ(second.stat().weights.planned, weights.range().size());
  EXPECT_TRUE(second.weights().owns(weights[0].bytes.data()));
  EXPECT_EQ(second.weights_at(plan.weights.at("layers.1.3")).data(),
            weights.at("layers.1.3").bytes.data());
  EXPECT_EQ(second.weights().try_take(1), nullptr);
  second.clear_talk();
  EXPECT_TRUE(holds_its_files(weights));
  EXPECT_THROW(Layout(plan, {.extra = {.weights = 1, .scratch = 0, .history = 0},
                             .loaded_weights = &weights}),
               InvalidArgument);
}

TEST_F(WeightsOfFiles, AreKeptOutOfCoreDumps) {
  const Weights weights = open({.way = Way::read});
  EXPECT_TRUE(has_flag(weights[0].bytes.data(), 4096, "dd"));
  const Weights dumped = open({.way = Way::read, .core_dump = true});
  EXPECT_FALSE(any_has_flag(dumped[0].bytes.data(), 4096, "dd"));
}

TEST_F(WeightsOfFiles, LieOnTheNodeThatWasAskedFor) {
  Weights weights =
      open({.way = Way::read, .numa = {.policy = NumaPlacement::Policy::bind, .nodes = {0}}});
  if (!weights.unmet().empty()) GTEST_SKIP() << weights.unmet().front().text;
  const std::vector<Mapping> mappings = mappings_in(weights[0].bytes.data(), 1);
  ASSERT_EQ(mappings.size(), 1U);
  std::ostringstream begin;
  begin << std::hex << mappings[0].begin;
  const std::string maps = text_of("/proc/self/numa_maps");
  if (maps.empty()) GTEST_SKIP() << "the kernel does not report policies";
  EXPECT_NE(maps.find(begin.str() + " bind:0\n"), std::string::npos);
  ASSERT_TRUE(weights.warm());
  const WeightsResidency residency = weights.residency();
  if (residency.nodes.empty()) GTEST_SKIP() << "the kernel does not report nodes";
  EXPECT_GE(residency.nodes[0], residency.bytes);
}

TEST_F(WeightsOfFiles, TellThatANodeIsNotThere) {
  Weights weights = open(
      {.way = Way::read, .numa = {.policy = NumaPlacement::Policy::interleave, .nodes = {1000}}});
  ASSERT_FALSE(weights.unmet().empty());
  EXPECT_EQ(weights.unmet().front().wish, Wish::numa);
  EXPECT_EQ(weights.unmet().front().text,
            "NUMA placement: EINVAL (see /sys/devices/system/node/online)");
  EXPECT_TRUE(weights.warm());  // an unmet wish does not prevent it
}

TEST_F(WeightsOfFiles, TakeOrdinaryPagesWhenAsked) {
  Weights weights = open({.way = Way::read, .huge_pages = HugePages::never});
  ASSERT_TRUE(weights.warm());
  EXPECT_EQ(weights.residency().huge.value_or(0), 0U);
}

TEST_F(WeightsOfFiles, SayWhenThePoolOfHugePagesIsTooSmall) {
  const HugePagePool pool(0);
  if (pool_free() > 0) GTEST_SKIP() << "the host has a pool of huge pages";
  Weights weights = open({.way = Way::read, .huge_pages = HugePages::explicit_pages});
  ASSERT_FALSE(weights.unmet().empty());
  EXPECT_EQ(weights.unmet().front().wish, Wish::huge_pages);
  EXPECT_TRUE(weights.warm());
  EXPECT_TRUE(holds_its_files(weights));
}

TEST_F(WeightsOfFiles, TakePagesOfThePool) {
  const HugePagePool pool(32);
  if (!pool.ready() || pool_page() != 2_MiB)
    GTEST_SKIP() << "the host cannot provide 32 huge pages of 2 MiB";
  Weights weights = open({.way = Way::read, .huge_pages = HugePages::explicit_pages});
  EXPECT_TRUE(weights.unmet().empty());
  const WarmResult warmed = weights.warm();
  ASSERT_TRUE(warmed);
  EXPECT_GT(warmed.huge.value_or(32_MiB), 25_MiB);
  EXPECT_TRUE(holds_its_files(weights));
}

}  // namespace
}  // namespace tapedeck::tests
