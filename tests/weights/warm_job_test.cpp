// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/warm_job.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "os/child.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;

class WarmJobWays : public testing::TestWithParam<Way> {
 protected:
  ThreeFiles model_;
  Weights weights_ = Weights::open(model_.path(), {.way = GetParam()});
};
INSTANTIATE_TEST_SUITE_P(Ways, WarmJobWays, testing::ValuesIn(kWays), name_of_way);

TEST_P(WarmJobWays, TellHowFarTheyAre) {
  std::vector<std::uint64_t> done;
  std::uint64_t total = 0;
  const WarmResult result = weights_.warm({.threads = 3, .progress = [&](const auto& at) {
                                             done.push_back(at.done);
                                             total = at.total;
                                             EXPECT_TRUE(at.seconds_left().has_value());
                                           }});
  ASSERT_FALSE(done.empty());
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), total);
  EXPECT_EQ(total, result.asked);
  EXPECT_EQ(result.warmed, total);
  EXPECT_GT(result.seconds, 0);
}

TEST_P(WarmJobWays, CountWhatIsReallyThere) {
  const WarmResult result = weights_.warm();
  if (!result.present) GTEST_SKIP() << "the kernel does not report residency";
  EXPECT_GE(*result.present, result.asked - weights_.files().size() * 4096);
}

TEST_P(WarmJobWays, WaitForATensor) {
  WarmJob job = weights_.start_warm({}, layer_order(weights_.tensors()));
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    EXPECT_TRUE(job.wait_for(i));
    EXPECT_TRUE(weights_.warmed(i));
  }
  EXPECT_TRUE(job.wait());
  EXPECT_TRUE(job.wait());  // returns the same again
}

TEST_P(WarmJobWays, BeginWithWhatComesFirst) {
  // The last tensor is in a separate file, and with one thread the order is fixed.
  const std::uint32_t last = static_cast<std::uint32_t>(weights_.size() - 1);
  bool first = true;
  const auto look = [&](const WarmProgress&) {
    if (first && GetParam() != Way::direct) {
      EXPECT_TRUE(weights_.warmed(last));
    }
    first = false;
  };
  EXPECT_TRUE(weights_.warm({.threads = 1, .progress = look}, {last}));
  EXPECT_FALSE(first);
}

TEST_P(WarmJobWays, EndInAForkedChild) {
  std::promise<void> released;
  const std::shared_future<void> release = released.get_future().share();
  std::promise<void> begun;
  std::atomic<bool> first = true;
  std::optional<WarmJob> job(
      weights_.start_warm({.threads = 1, .progress = [&, release](const WarmProgress&) {
                             if (first.exchange(false)) begun.set_value();
                             release.wait();
                           }}));
  begun.get_future().wait();
  in_child([&] {
    EXPECT_EQ(thrown<WrongState>([&] { (void)job->wait_for(weights_.size() - 1); }).state(),
              ObjectState::forked);
    EXPECT_EQ(thrown<WrongState>([&] { (void)job->wait(); }).state(), ObjectState::forked);
    job.reset();
  });
  released.set_value();
  EXPECT_TRUE(job->wait());
}

TEST_P(WarmJobWays, RefuseAnOrderOfNoTensor) {
  EXPECT_THROW(static_cast<void>(weights_.warm({}, {1000})), InvalidArgument);
  EXPECT_THROW(static_cast<void>(weights_.start_warm().wait_for(1000)), InvalidArgument);
  EXPECT_TRUE(weights_.warm());
}

TEST(WarmJob, ThatIsStoppedLetsNobodyWait) {
  const ThreeFiles model;
  Weights weights = Weights::open(model.path(), {.way = Way::read});
  std::stop_source stop;
  stop.request_stop();
  WarmJob job = weights.start_warm({.stop = stop.get_token()});
  EXPECT_FALSE(job.wait_for(0));
  EXPECT_EQ(job.wait().end, WarmEnd::stopped);
}

TEST(WarmJob, ThatWasMovedFromIsEmpty) {
  const ThreeFiles model;
  Weights weights = Weights::open(model.path());
  WarmJob job = weights.start_warm();
  WarmJob moved = std::move(job);
  const std::vector<std::function<void()>> members = {
      [&] { return job.wait(); },  // NOLINT(bugprone-use-after-move)
      [&] { return job.wait_for(0); },
      [&] { return job.progress(); },
      [&] { job.stop(); },
  };
  for (const auto& member : members) {
    EXPECT_EQ(thrown<WrongState>(member).state(), ObjectState::empty);
  }
  EXPECT_TRUE(moved.wait());
}

TEST(WarmJob, ProgressHasARate) {
  const WarmProgress at = {.done = 50, .total = 200, .seconds = 2};
  EXPECT_DOUBLE_EQ(at.bytes_per_second(), 25);
  EXPECT_DOUBLE_EQ(at.seconds_left().value(), 6);
  EXPECT_EQ(WarmProgress{}.seconds_left(), std::nullopt);
}

TEST(LayerOrder, IsThatOfAForwardPass) {
  const TempFolder folder;
  std::string header;
  std::uint64_t at = 0;
  for (const char* name : {"lm_head.weight", "layers.10.a", "layers.2.b", "embed.weight",
                           "norm.weight", "layers.2.a", "visual.layers.7.a", "mtp.layers.0.a"}) {
    header += (at == 0 ? "{" : ",") + tensor_json(name, "U8", "1", at, at + 1);
    ++at;
  }
  const Model model = read_model(folder.write("m.safetensors", safetensors(header + "}", at)));
  std::vector<std::string> ordered;
  for (const std::uint32_t i : layer_order(model.tensors)) {
    ordered.emplace_back(model.tensors.entries()[i].name);
  }
  EXPECT_THAT(ordered,
              ElementsAre("embed.weight", "visual.layers.7.a", "layers.2.b", "layers.2.a",
                          "layers.10.a", "lm_head.weight", "norm.weight", "mtp.layers.0.a"));
}

}  // namespace
}  // namespace tapedeck::tests
