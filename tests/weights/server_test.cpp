// SPDX-License-Identifier: Apache-2.0
// An engine that reads weights while a job loads them: whatever is reported as readable is in
// memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace {

using Order = std::vector<std::uint32_t>;

class Server : public ::testing::TestWithParam<Way> {
 protected:
  static void SetUpTestSuite() {
    model_folder = std::make_unique<TempFolder>();
    std::vector<std::uint64_t> sizes;
    for (std::uint64_t i = 0; i < 40; ++i) sizes.push_back(i % 5 == 4 ? 8_MiB : 40'000 * i + i);
    model_path = make_file(*model_folder, "a.safetensors", {.sizes = sizes, .backwards = true});
    store_and_make_cold(model_path);
  }
  static void TearDownTestSuite() { model_folder.reset(); }

  void SetUp() override {
    make_cold_again(model_path);
    weights_ = std::make_unique<Weights>(Weights::open(model_path, {.way = GetParam()}));
  }

  [[nodiscard]] Order in_random_order() {
    Order order(weights_->size());
    std::iota(order.begin(), order.end(), 0U);
    std::shuffle(order.begin(), order.end(), random_);
    return order;
  }

  // Reads as decoding does: layer by layer, each as soon as it has arrived.
  void read_in_order(WarmJob& job, const Order& order) {
    for (const std::uint32_t tensor : order) {
      if (!job.wait_for(tensor)) return;
      count(tensor);
    }
  }

  // Repeatedly looks for a tensor that has arrived since.
  void read_whatever_is_there(Order order) {
    while (!order.empty() && !job_is_over_) {
      std::erase_if(order, [&](std::uint32_t tensor) {
        if (!weights_->warmed(tensor)) return false;
        count(tensor);
        return true;
      });
      std::this_thread::yield();
    }
  }

  void count(std::uint32_t tensor) {
    const bool right = weights_->readable(tensor) && is_right((*weights_)[tensor]);
    ++(right ? right_ : wrong_);
  }

  // Runs a job with concurrent readers.
  WarmResult serve(const WarmOptions& options, const Order& brought, const Order& order) {
    job_is_over_ = false;
    WarmJob job = weights_->start_warm(options, brought);
    std::vector<std::jthread> readers;
    readers.emplace_back([&] { read_in_order(job, order); });
    readers.emplace_back(
        [&, backwards = Order(order.rbegin(), order.rend())] { read_in_order(job, backwards); });
    readers.emplace_back([&] { read_whatever_is_there(order); });
    WarmResult result = job.wait();
    job_is_over_ = true;
    return result;
  }

  void expect_served(std::size_t reads_at_least) const {
    EXPECT_EQ(wrong_, 0U);
    EXPECT_GE(right_, reads_at_least);
  }

  inline static std::filesystem::path model_path;
  inline static std::unique_ptr<TempFolder> model_folder;
  std::mt19937 random_{1};
  std::unique_ptr<Weights> weights_;
  std::atomic<bool> job_is_over_{false};
  std::atomic<std::size_t> right_{0};
  std::atomic<std::size_t> wrong_{0};
};

INSTANTIATE_TEST_SUITE_P(Way, Server, ::testing::ValuesIn(kWays), name_of_way);

// Without a second thread: everything that is reported as readable is read at each step of the job.
TEST_P(Server, ReadsAtEachStepWhatIsSaidToBeThere) {
  std::vector<bool> seen(weights_->size());
  const auto look = [&](const WarmProgress& /*progress*/) {
    for (std::uint32_t tensor = 0; tensor < weights_->size(); ++tensor) {
      if (seen[tensor] || !weights_->warmed(tensor)) continue;
      seen[tensor] = true;
      count(tensor);
    }
  };
  EXPECT_TRUE(weights_->warm({.threads = 1, .progress = look}));
  expect_served(weights_->size());
}

TEST_P(Server, ReadsInAnyOrder) {
  for (int round = 0; round < 4; ++round) {
    const Order order = in_random_order();
    EXPECT_TRUE(serve({.threads = 4}, in_random_order(), order));
    static_cast<void>(weights_->decommit());
  }
  expect_served(8 * weights_->size());
}

TEST_P(Server, ReadsWhenAllWasGivenBackAndComesAgain) {
  const Order order = layer_order(weights_->tensors());
  for (int round = 0; round < 4; ++round) {
    EXPECT_TRUE(serve({.threads = 2}, order, order));
    EXPECT_TRUE(all_right(*weights_));
    make_cold_again(model_path);
    static_cast<void>(weights_->decommit());
  }
  expect_served(8 * order.size());
}

// Decommitting some tensors must not take bytes from others.
TEST_P(Server, ReadsWhatWasNotGivenBack) {
  EXPECT_TRUE(weights_->warm({.threads = 2}));
  for (int round = 0; round < 10; ++round) {
    Order some = in_random_order();
    some.resize(random_() % some.size());
    some.insert(some.end(), some.begin(), some.end());  // listed twice
    static_cast<void>(weights_->decommit(some));
    for (std::uint32_t i = 0; i < weights_->size(); ++i) {
      const bool named = std::find(some.begin(), some.end(), i) != some.end();
      EXPECT_TRUE(named || weights_->warmed(i)) << i;
      EXPECT_TRUE(!weights_->warmed(i) || is_right((*weights_)[i])) << i;
    }
    EXPECT_TRUE(serve({.threads = 2}, {}, in_random_order()));
    EXPECT_TRUE(all_right(*weights_));
  }
  expect_served(1);
}

// Readers read one half, while the other half is decommitted and loaded again.
TEST_P(Server, ReadsOneHalfWhileTheOtherIsGivenBack) {
  EXPECT_TRUE(weights_->warm({.threads = 2}));
  const Order order = layer_order(weights_->tensors());
  const Order first(order.begin(), order.begin() + 20);
  const Order second(order.begin() + 20, order.end());
  std::atomic<bool> over = false;
  {
    const std::jthread reader([&] {
      while (!over) {
        for (const std::uint32_t tensor : first) count(tensor);
      }
    });
    for (int round = 0; round < 10; ++round) {
      static_cast<void>(weights_->decommit(second));
      EXPECT_TRUE(weights_->warm({.threads = 2}));
    }
    over = true;
  }
  EXPECT_TRUE(all_right(*weights_));
  expect_served(first.size());
}

}  // namespace
}  // namespace tapedeck::tests
