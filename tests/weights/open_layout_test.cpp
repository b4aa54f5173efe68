// SPDX-License-Identifier: Apache-2.0
// A layout that opens a model's file owns its weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <stop_token>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

class OpenLayout : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(file_)) GTEST_SKIP() << "no " << file_;
  }

  [[nodiscard]] OpenLayoutOptions options() const {
    return {.plan = {.total_context = 64}, .weights = {.way = GetParam()}};
  }
  void expect_weights_of_file(Layout& layout) const {
    Weights expected = Weights::open(file_, {.way = Way::read});
    ASSERT_TRUE(expected.warm());
    ASSERT_EQ(layout.plan().weights.regions().size(), expected.size());
    for (const Region& region : layout.plan().weights.regions()) {
      EXPECT_THAT(layout.weights_at(region),
                  testing::ElementsAreArray(expected.at(region.name).bytes))
          << region.name;
    }
  }

  const std::filesystem::path file_ = shared_data("gguf/stories260K-F16.gguf");
};
INSTANTIATE_TEST_SUITE_P(Ways, OpenLayout, testing::ValuesIn(kWays), name_of_way);

TEST_P(OpenLayout, OwnsTheWeightsOfTheFile) {
  Layout layout = Layout::open(file_, options());
  expect_weights_of_file(layout);
  EXPECT_EQ(layout.opened_weights()->progress().done, layout.opened_weights()->progress().total);
  EXPECT_TRUE(layout.opened_weights()->wait());
  EXPECT_EQ(layout.plan().context_per_talk, 64U);
  layout.talk(0).prepare(1);
  EXPECT_EQ(layout.talk(0).advance(), 0U);
  layout.clear_talk();
}

TEST_P(OpenLayout, ComputesWhileWeightsArrive) {
  OpenLayoutOptions arriving = options();
  arriving.while_arriving = true;
  Layout layout = Layout::open(file_, arriving);
  for (const Region& region : layout.plan().weights.regions()) {
    EXPECT_TRUE(layout.opened_weights()->wait_for(region.name));
  }
  expect_weights_of_file(layout);
  EXPECT_TRUE(layout.opened_weights()->wait());
  EXPECT_EQ(thrown<InvalidArgument>([&] {
              return layout.opened_weights()->wait_for("no such tensor");
            }).argument(),
            "tensor");
}

TEST_P(OpenLayout, ThrowsWhereTheWeightsDoNotCome) {
  std::stop_source stop;
  stop.request_stop();
  OpenLayoutOptions stopped = options();
  stopped.warm.stop = stop.get_token();
  const auto error =
      thrown<SystemError>([&] { const Layout layout = Layout::open(file_, stopped); });
  EXPECT_EQ(error.number(), ECANCELED);
}

TEST_P(OpenLayout, RefusesOptionsThatWouldHaveNoEffect) {
  Layout layout = Layout::open(file_, options());
  OpenLayoutOptions asked = options();
  asked.layout.loaded_weights = layout.opened_weights();
  EXPECT_EQ(thrown<InvalidArgument>([&] { return Layout::open(file_, asked); }).argument(),
            "LayoutOptions::loaded_weights");
  asked = options();
  asked.layout.weights.block.lock = true;  // the weights are not in a block of the layout
  EXPECT_EQ(thrown<InvalidArgument>([&] { return Layout::open(file_, asked); }).argument(),
            "TapeOptions::block");
}

TEST(OpenLayoutErrors, AreThoseOfTheFileAndOfThePlan) {
  EXPECT_EQ(
      thrown<SystemError>([] { const Layout layout = Layout::open("no/such/file.gguf"); }).number(),
      ENOENT);
  const std::filesystem::path file = shared_data("gguf/stories260K-F16.gguf");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  // Weights have the types of the file, whatever a plan requests.
  EXPECT_EQ(thrown<InvalidArgument>([&] {
              const Layout layout = Layout::open(file, {.plan = {.weights_type = DType::q8_0}});
            }).argument(),
            "LayoutOptions::loaded_weights");
  const Layout from_sizes({.weights = 4096, .scratch = 4096, .history = 4096});
  EXPECT_EQ(from_sizes.opened_weights(), nullptr);
}

}  // namespace
}  // namespace tapedeck::tests
