// SPDX-License-Identifier: Apache-2.0
// A warm that is ended at any time, by any means: what it reports as present is right, it can be
// continued, and nothing of it is left behind.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/thrown.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace {

constexpr unsigned kThreads = 4;  // few enough that their stacks stay mapped for later threads
constexpr std::size_t kChunks = 8;
constexpr std::size_t kStep = kSanitized ? 4 : 1;  // a sanitizer makes reading slow

class Kill : public ::testing::TestWithParam<Way> {
 protected:
  static void SetUpTestSuite() {
    model_folder = std::make_unique<TempFolder>();
    const std::vector<std::uint64_t> sizes = {5_MiB,  7_MiB,  100,   0,      9_MiB, 5_MiB,
                                              70'001, 12_MiB, 3_MiB, 17_MiB, 1};
    model_path = make_file(*model_folder, "a.safetensors", {.sizes = sizes});
    store_and_make_cold(model_path);
    make_what_is_made_once(kThreads);
  }
  static void TearDownTestSuite() { model_folder.reset(); }

  void SetUp() override { before_ = holdings(); }
  void TearDown() override { EXPECT_TRUE(same(before_, holdings())); }

  [[nodiscard]] static Weights open() {
    make_cold_again(model_path);
    return Weights::open(model_path, {.way = GetParam()});
  }

  // Continues after an early end. Returns how much was left.
  static std::size_t expect_goes_on(Weights& weights) {
    EXPECT_TRUE(warmed_are_right(weights));
    const WarmResult rest = weights.warm({.threads = kThreads});
    EXPECT_EQ(rest.end, WarmEnd::complete);
    EXPECT_EQ(rest.warmed, rest.asked);
    EXPECT_TRUE(all_right(weights));
    EXPECT_EQ(weights.warm().asked, 0U);
    return rest.asked;
  }

  static void expect_ended(const WarmResult& result, WarmEnd early) {
    if (result.end == WarmEnd::complete) {
      EXPECT_EQ(result.warmed, result.asked);
    } else {
      EXPECT_EQ(result.end, early);
      EXPECT_LT(result.warmed, result.asked);
    }
  }

  // Waits for a random moment while a job runs. The invariants must hold at every moment.
  void wait_for_some_moment() {
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution(0, 6000)(random_)));
  }

  inline static std::filesystem::path model_path;
  inline static std::unique_ptr<TempFolder> model_folder;
  std::mt19937 random_{1};
  Holdings before_;
};

INSTANTIATE_TEST_SUITE_P(Way, Kill, ::testing::ValuesIn(kWays), name_of_way);

TEST_P(Kill, AStopTokenEndsItAfterAnyChunk) {
  for (const unsigned threads : {1U, kThreads}) {
    for (std::size_t last = 0; last <= kChunks; last += kStep) {
      Weights weights = open();
      std::stop_source stop;
      if (last == 0) stop.request_stop();
      std::size_t calls = 0;
      const WarmResult result =
          weights.warm({.threads = threads, .stop = stop.get_token(), .progress = [&](auto) {
                          if (++calls == last) stop.request_stop();
                        }});
      expect_ended(result, WarmEnd::stopped);
      EXPECT_TRUE(last != 0 || result.warmed == 0) << result.warmed;
      EXPECT_EQ(expect_goes_on(weights), result.asked - result.warmed);
    }
  }
}

TEST_P(Kill, StopEndsItAtAnyMoment) {
  for (int round = 0; round < 8; ++round) {
    Weights weights = open();
    WarmJob job = weights.start_warm({.threads = kThreads});
    wait_for_some_moment();
    job.stop();
    const bool there = job.wait_for(weights.size() - 1);
    const WarmResult result = job.wait();
    expect_ended(result, WarmEnd::stopped);
    EXPECT_EQ(there, weights.warmed(weights.size() - 1));
    expect_goes_on(weights);
  }
}

TEST_P(Kill, AJobIsDestroyedAtAnyMoment) {
  for (int round = 0; round < 8; ++round) {
    Weights weights = open();
    {
      const WarmJob job = weights.start_warm({.threads = kThreads});
      wait_for_some_moment();
    }
    expect_goes_on(weights);
  }
}

TEST_P(Kill, WeightsGoRightAfterTheirJob) {
  for (int round = 0; round < 8; ++round) {
    const auto weights = std::make_unique<Weights>(open());
    const WarmJob job = weights->start_warm({.threads = kThreads});
    wait_for_some_moment();
  }
}

TEST_P(Kill, AnotherJobTakesThePlaceOfOne) {
  Weights weights = open();
  Weights others = open();
  WarmJob job = weights.start_warm({.threads = kThreads / 2});
  job = others.start_warm({.threads = kThreads / 2});
  EXPECT_TRUE(job.wait());
  EXPECT_TRUE(all_right(others));
  expect_goes_on(weights);
}

struct Thrown {
  std::size_t at;
};

TEST_P(Kill, WhatProgressThrowsEndsIt) {
  for (std::size_t last = 1; last <= kChunks; last += kStep) {
    Weights weights = open();
    std::size_t calls = 0;
    WarmJob job = weights.start_warm({.threads = kThreads, .progress = [&](auto) {
                                        if (++calls == last) throw Thrown{last};
                                      }});
    for (int time = 0; time < 2; ++time) {
      const auto ended_by = thrown<Thrown>([&] { return job.wait(); });
      EXPECT_EQ(ended_by.at, last);
    }
    expect_goes_on(weights);
  }
}

TEST_P(Kill, ADeadlineEndsItAtAnyMoment) {
  using Clock = std::chrono::steady_clock;
  for (int milliseconds = -1; milliseconds < 8; ++milliseconds) {
    Weights weights = open();
    const auto deadline = Clock::now() + std::chrono::milliseconds(milliseconds);
    const WarmResult result = weights.warm({.threads = kThreads, .deadline = deadline});
    expect_ended(result, WarmEnd::past_deadline);
    EXPECT_TRUE(milliseconds >= 0 || result.warmed == 0) << result.warmed;
    expect_goes_on(weights);
  }
}

TEST_P(Kill, ASecondJobBesideOneIsRefusedAndHarmless) {
  Weights weights = open();
  bool refused = false;
  const auto start_another = [&](auto) {
    try {
      static_cast<void>(weights.start_warm({.threads = 1}));
    } catch (const WrongState& error) {
      refused = error.state() == ObjectState::busy;
    }
  };
  EXPECT_TRUE(weights.warm({.threads = kThreads, .progress = start_another}));
  EXPECT_TRUE(refused);
  EXPECT_TRUE(all_right(weights));
}

TEST_P(Kill, WhatWasBroughtInHalfIsGivenBackAndBroughtInAgain) {
  for (std::size_t last = 1; last <= kChunks; last += kStep) {
    Weights weights = open();
    std::stop_source stop;
    std::size_t calls = 0;
    static_cast<void>(
        weights.warm({.threads = kThreads, .stop = stop.get_token(), .progress = [&](auto) {
                        if (++calls == last) stop.request_stop();
                      }}));
    static_cast<void>(weights.decommit());
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(weights.warmed(i), weights[i].bytes.empty()) << i;
    }
    expect_goes_on(weights);
  }
}

}  // namespace
}  // namespace tapedeck::tests
