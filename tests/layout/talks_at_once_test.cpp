// SPDX-License-Identifier: Apache-2.0
// Talks of one layout that several threads open, grow, rewind and close at the same time.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "layout/cache_region.hpp"
#include "layout/side_kinds.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kSpokenRow = 1024;
constexpr std::uint64_t kSpokenContext = 512;
constexpr std::size_t kSpokenTalks = 6;
constexpr std::size_t kSpeakers = 3;
constexpr int kConversations = 60;  // of each thread
// Of the 6 MiB that all talks would have.
constexpr std::size_t kSpokenMemory = 3_MiB;

/// One thread's conversations, one after the other.
template <class AnyLayout>
class Speaker {
 public:
  Speaker(AnyLayout& layout, std::uint64_t number) : layout_(layout), random_(number) {}

  void speak() {
    for (int i = 0; i < kConversations && !::testing::Test::HasFailure(); ++i) converse();
  }

 private:
  void converse() {
    auto talk = layout_.open_talk();  // there are more talks than threads
    rows_.clear();
    for (std::uint64_t steps = random_() % 30; steps != 0; --steps) {
      if (!grow(talk, 1 + random_() % 40)) break;
      if (random_() % 5 == 0) rewind(talk, random_() % 20);
      if (random_() % 20 == 0) static_cast<void>(talk.decommit());
    }
    for (std::uint64_t row = 0; row < rows_.size(); ++row) {
      for (std::size_t region = 0; region < 2; ++region) {
        std::uint64_t found = 0;
        std::memcpy(&found, at(talk, region, row), sizeof(found));
        ASSERT_EQ(found, rows_[row] + region);
      }
    }
    talk.close();
  }

  // Returns false if the talk cannot go on.
  bool grow(auto& talk, std::uint64_t tokens) {
    try {
      talk.prepare(tokens);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
      return false;
    }
    const std::uint64_t first = talk.advance(tokens);
    EXPECT_EQ(first, rows_.size());
    for (std::uint64_t row = first; row < first + tokens; ++row) {
      rows_.push_back(random_());
      for (std::size_t region = 0; region < 2; ++region) {
        const std::uint64_t value = rows_[row] + region;
        std::memcpy(at(talk, region, row), &value, sizeof(value));
      }
    }
    return true;
  }

  void rewind(auto& talk, std::uint64_t tokens) {
    talk.rewind(tokens);
    rows_.resize(rows_.size() - std::min<std::size_t>(tokens, rows_.size()));
  }

  [[nodiscard]] std::byte* at(const auto& talk, std::size_t region, std::uint64_t row) {
    const Region& one = layout_.plan().history.regions()[region];
    return layout_.history_at(one, talk.index()).data() + row * kSpokenRow;
  }

  AnyLayout& layout_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> rows_;  // what each of them holds
};

template <class Kind>
class TalksAtOnce : public ::testing::Test {};
TYPED_TEST_SUITE(TalksAtOnce, SideKinds);

TYPED_TEST(TalksAtOnce, KeepTheirRowsWhileTheLimitChanges) {
  TypeParam side(keys_and_values(kSpokenTalks, kSpokenContext, kSpokenRow),
                 {.growth_step = 16, .history_budget = kSpokenMemory, .ahead = 32}, kSpokenMemory);
  auto& layout = side.layout;
  for (std::size_t i = 0; i < kSpokenTalks; ++i) layout.talk(i).close();
  std::atomic<std::size_t> speaking = kSpeakers;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kSpeakers; ++i) {
      threads.emplace_back([&, i] {
        Speaker(layout, i).speak();
        --speaking;
      });
    }
    std::uint64_t revision = 0;
    do {
      const std::size_t limit = revision % 2 == 0 ? kSpokenMemory / 2 : kSpokenMemory;
      EXPECT_NE(layout.limit_histories(limit, ++revision), LimitChange::stale);
      EXPECT_LE(layout.room(64), kSpokenTalks);
      const auto stat = layout.stat();
      EXPECT_LE(stat.tokens, kSpokenTalks * kSpokenContext);
      EXPECT_LE(stat.history.used, kSpokenTalks * kSpokenContext * kSpokenRow * 2);
      std::this_thread::yield();
    } while (speaking != 0);
  }
  EXPECT_EQ(layout.stat().tokens, 0U);
  EXPECT_LE(layout.stat().history.committed, kSpokenMemory);
  static_cast<void>(layout.decommit());
  EXPECT_EQ(layout.stat().history.committed, 0U);
}

}  // namespace
}  // namespace tapedeck::tests
