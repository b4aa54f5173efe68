// SPDX-License-Identifier: Apache-2.0
// A reader runs between any two stores of the publisher, and the publisher between any two reads of
// a reader. A program of its own: it compiles both with hooks in between, so the test does not
// depend on the timing of threads. Each mutant of them is this program with one more definition.
#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "telemetry/published.hpp"

namespace tapedeck::tests {

// Called if set. They are not called recursively.
std::function<void()> after_store;
std::function<void()> before_read;

inline void interrupt(std::function<void()>& with) {
  if (!with) return;
  const std::function<void()> once = std::exchange(with, nullptr);
  once();
  with = once;
}

}  // namespace tapedeck::tests

#define TAPEDECK_AFTER_STORE() tests::interrupt(tests::after_store)
#define TAPEDECK_BEFORE_READ() tests::interrupt(tests::before_read)
#include "telemetry/live/stat_publisher.cpp"  // NOLINT(bugprone-suspicious-include)
#include "telemetry/live/stat_reader.cpp"     // NOLINT(bugprone-suspicious-include)

namespace tapedeck::tests {
namespace {

/// A layout that is published once, and again after each pass, which clears scratch and takes 64
/// bytes from the history.
class StatInterleaving : public InSharedMemory {
 protected:
  void SetUp() override {
    InSharedMemory::SetUp();
    if (IsSkipped()) return;
    publisher_.emplace(layout_, "chat", folder_.path());
    reader_.emplace(publisher_->path());
  }
  void TearDown() override {
    after_store = nullptr;
    before_read = nullptr;
  }

  void pass_and_publish() {
    (void)layout_.history().take(64);
    layout_.clear_pass();
    publisher_->publish();
  }
  static void expect_whole(const PublishedStat& now) {
    const std::uint64_t passes = now.publishes - 1;
    EXPECT_EQ(now.stat.passes, passes) << "torn";
    EXPECT_EQ(now.stat.scratch.clears, passes) << "torn";
    EXPECT_EQ(now.stat.history.used, passes * 64) << "torn";
  }

  SmallLayout layout_;
  std::optional<StatPublisher> publisher_;
  std::optional<StatReader> reader_;
};

struct LooksAgain {};

TEST_F(StatInterleaving, AReaderBetweenAnyTwoStoresSeesNothing) {
  std::size_t looks = 0;
  std::size_t again = 0;
  after_store = [&] {
    ++looks;
    try {
      // Reading the record once takes three reads; a reader that reads more has noticed that it
      // must repeat.
      std::size_t reads = 0;
      before_read = [&] {
        if (++reads > 3) throw LooksAgain();
      };
      if (const auto now = reader_->read()) expect_whole(*now);
    } catch (const LooksAgain&) {
      ++again;
    }
    before_read = nullptr;
  };
  pass_and_publish();
  after_store = nullptr;
  EXPECT_GT(looks, 50U);
  EXPECT_EQ(again, looks);
  const auto now = reader_->read();
  ASSERT_TRUE(now);
  expect_whole(*now);
}

TEST_F(StatInterleaving, APublisherBetweenAnyTwoReadsIsNoticed) {
  std::size_t reads = 3;
  for (std::size_t n = 1; n <= reads; ++n) {
    SCOPED_TRACE(n);
    reads = 0;
    before_read = [&] {
      if (++reads == n) pass_and_publish();
    };
    const auto now = reader_->read();
    before_read = nullptr;
    ASSERT_TRUE(now);
    expect_whole(*now);
    ASSERT_LT(n, 100U);
    EXPECT_GE(reads, 3U) << "reading a record takes at least three reads";
  }
}

}  // namespace
}  // namespace tapedeck::tests
