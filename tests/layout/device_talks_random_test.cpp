// Talks of a device layout, operations at random, against an oracle that knows nothing of pages.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "layout/cache_region.hpp"
#include "memory/pattern.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/device_layout.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kRandomRow = 1024;
constexpr std::uint64_t kRandomContext = 2048;
constexpr std::size_t kRandomTalks = 4;
// Not enough for all talks to be long.
constexpr std::size_t kMemory = 7_MiB;

enum class Act : std::uint8_t {
  prepare,
  advance,
  rewind,
  clear_talk,
  clear_pass,
  take,
  trim,
  seal
};
constexpr std::array kActNames = {"prepare",    "advance", "rewind", "clear_talk",
                                  "clear_pass", "take",    "trim",   "seal"};
constexpr std::array<unsigned, kActNames.size()> kWeights = {340, 390, 60, 20, 60, 60, 40, 30};

struct Tally {
  std::array<std::uint64_t, kActNames.size()> acts{};
  std::uint64_t acts_of_all = 0;
  std::uint64_t full = 0;    // the device had no page
  std::uint64_t ended = 0;   // the plan had no more tokens
  std::uint64_t grew = 0;    // pages were mapped
  std::uint64_t reused = 0;  // without any being created
  std::uint64_t rewound_over_growth = 0;
  std::uint64_t refused_sealed = 0;
};

Plan plan_of_talks() {
  Plan plan;
  plan.talks = kRandomTalks;
  plan.context_per_talk = kRandomContext;
  plan.scratch.append({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4096});
  for (const char* name : {"layers.0.k", "layers.0.v"}) {
    plan.history.append(cache_region(name, RegionRole::kv, kRandomContext, kRandomRow));
  }
  return plan;
}

class Life {
 public:
  Life(std::uint64_t seed, Tally& tally) : random_(seed), tally_(tally) {
    for (std::size_t talk = 0; talk < kRandomTalks; ++talk) {
      for (const Region& region : gpu_.plan().history.regions()) {
        places_.push_back(gpu_.history_at(region, talk).data());
      }
    }
  }

  void play(std::size_t steps) {
    for (std::size_t step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      const Act act = pick();
      ++tally_.acts[static_cast<std::size_t>(act)];
      ++tally_.acts_of_all;
      perform(act);
      check_figures();
      if (step % 64 == 0) check_bytes();
    }
    check_bytes();
  }

 private:
  // What the oracle knows of a talk: the number of each token's pattern.
  struct Expected {
    std::vector<std::uint64_t> rows;
  };

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  Act pick() {
    auto at = static_cast<unsigned>(below(1000));
    for (std::size_t i = 0; i < kWeights.size(); ++i) {
      if (at < kWeights[i]) return static_cast<Act>(i);
      at -= kWeights[i];
    }
    return Act::seal;
  }

  void perform(Act act) {
    const std::size_t talk = below(kRandomTalks);
    switch (act) {
      case Act::prepare:
        return prepare(talk);
      case Act::advance:
        return advance(talk);
      case Act::rewind:
        return rewind(talk);
      case Act::clear_talk:
        gpu_.clear_talk(talk);
        talks_[talk].rows.clear();
        return;
      case Act::clear_pass:
        return gpu_.clear_pass();
      case Act::take:
        EXPECT_EQ(gpu_.scratch().try_take(1), nullptr);  // all of it is planned
        return;
      case Act::trim:
        static_cast<void>(gpu_.decommit());
        EXPECT_EQ(gpu_.stat().pool_free, 0U);
        return;
      case Act::seal:
        return live_sealed(talk);
    }
  }

  void prepare(std::size_t talk) {
    const std::uint64_t tokens = 1 + below(400);
    const DeviceStat before = gpu_.stat();
    const std::size_t committed = gpu_.history(talk).committed();
    try {
      gpu_.talk(talk).prepare(tokens);
      EXPECT_LE(talks_[talk].rows.size() + tokens, kRandomContext);
    } catch (const TalkFull&) {
      ++tally_.ended;
      EXPECT_GT(talks_[talk].rows.size() + tokens, kRandomContext);
    } catch (const DeviceOutOfMemory&) {
      ++tally_.full;
      EXPECT_EQ(gpu_.history(talk).committed(), committed);
    }
    if (gpu_.history(talk).committed() == committed) return;
    ++tally_.grew;
    if (gpu_.stat().pool_held == before.pool_held) ++tally_.reused;
  }

  void advance(std::size_t talk) {
    const std::uint64_t tokens = 1 + below(120);
    Expected& expected = talks_[talk];
    const std::size_t room = gpu_.history(talk).committed() / (2 * kRandomRow);
    try {
      const std::uint64_t first = gpu_.talk(talk).advance(tokens);
      ASSERT_EQ(first, expected.rows.size());
      ASSERT_LE(first + tokens, room);
    } catch (const NotPrepared& error) {
      EXPECT_GT(tokens, error.needs().room);
      EXPECT_EQ(error.needs().tokens, tokens);
      return;
    } catch (const TalkFull&) {
      EXPECT_GT(expected.rows.size() + tokens, kRandomContext);
      return;
    }
    for (std::uint64_t i = 0; i < tokens; ++i) write_row(talk, expected);
  }

  void write_row(std::size_t talk, Expected& expected) {
    const std::size_t row = expected.rows.size();
    expected.rows.push_back(++patterns_);
    Pattern(patterns_).write(place(talk, 0) + row * kRandomRow, kRandomRow);
    Pattern(patterns_ + 7).write(place(talk, 1) + row * kRandomRow, kRandomRow);
  }

  void rewind(std::size_t talk) {
    const std::uint64_t tokens = below(100);
    std::vector<std::uint64_t>& rows = talks_[talk].rows;
    const std::size_t kept = rows.size() - std::min<std::size_t>(tokens, rows.size());
    if (rows.size() * kRandomRow / kDevicePage != kept * kRandomRow / kDevicePage)
      ++tally_.rewound_over_growth;
    gpu_.talk(talk).rewind(tokens);
    rows.resize(kept);
  }

  // A layout of its own: sealing is for good.
  void live_sealed(std::size_t talk) {
    DeviceLayout sealed(device_, plan_of_talks(),
                        {.commit = Commit::with_talks, .growth_step = 16});
    try {
      sealed.talk(talk).prepare(30);
    } catch (const DeviceOutOfMemory&) {
      return;
    }
    sealed.seal();
    EXPECT_EQ(sealed.talk(talk).advance(32), 0U);
    sealed.clear_talk(talk);
    EXPECT_THROW(sealed.talk(talk).prepare(33), WrongState);
    EXPECT_THROW(sealed.talk((talk + 1) % kRandomTalks).prepare(1), WrongState);
    EXPECT_EQ(sealed.talk(talk).advance(32), 0U);
    ++tally_.refused_sealed;
  }

  [[nodiscard]] std::byte* place(std::size_t talk, std::size_t region) const {
    return places_[talk * 2 + region];
  }

  void check_figures() {
    std::uint64_t tokens = 0;
    std::uint64_t committed = 0;
    for (std::size_t talk = 0; talk < kRandomTalks; ++talk) {
      ASSERT_EQ(gpu_.talk(talk).tokens(), talks_[talk].rows.size());
      ASSERT_GE(gpu_.history(talk).committed(), talks_[talk].rows.size() * kRandomRow * 2);
      tokens += gpu_.talk(talk).tokens();
      committed += gpu_.history(talk).committed();
    }
    const DeviceStat stat = gpu_.stat();
    ASSERT_EQ(stat.tokens, tokens);
    ASSERT_EQ(stat.history.committed, committed);
    ASSERT_EQ(stat.pool_held - stat.pool_free, committed);
    ASSERT_LE(stat.pool_held, kMemory);
  }

  void check_bytes() {
    for (std::size_t talk = 0; talk < kRandomTalks; ++talk) {
      for (std::size_t region = 0; region < 2; ++region) {
        const std::byte* const at =
            gpu_.history_at(gpu_.plan().history.regions()[region], talk).data();
        ASSERT_EQ(at, place(talk, region));
        const std::vector<std::uint64_t>& rows = talks_[talk].rows;
        for (std::size_t row = 0; row < rows.size(); ++row) {
          ASSERT_TRUE(Pattern(rows[row] + region * 7).is_at(at + row * kRandomRow, kRandomRow))
              << "talk " << talk << ", region " << region << ", row " << row;
        }
      }
    }
  }

  std::mt19937_64 random_;
  Tally& tally_;
  HostDevice device_{{.memory = kMemory, .granularity = kDevicePage}};
  DeviceLayout gpu_{device_, plan_of_talks(), {.commit = Commit::with_talks, .growth_step = 16}};
  std::vector<std::byte*> places_;
  std::array<Expected, kRandomTalks> talks_;
  std::uint64_t patterns_ = 0;
};

TEST(DeviceTalksRandom, AgreeWithTheOracle) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Life(seed, tally).play(1500);
    if (HasFailure()) return;
  }
  for (std::size_t act = 0; act < tally.acts.size(); ++act) {
    EXPECT_GE(tally.acts[act] * 100, tally.acts_of_all) << kActNames[act];
  }
  EXPECT_GE(tally.full, 100U);
  EXPECT_GE(tally.ended, 100U);
  EXPECT_GE(tally.grew, 100U);
  EXPECT_GE(tally.reused, 100U);
  EXPECT_GE(tally.rewound_over_growth, 100U);
  EXPECT_GE(tally.refused_sealed, 100U);
}

// As many conversations as a server has in a day, over growth that is behind it.
TEST(DeviceTalks, BytesFromBeforeGrowthAreThereAfterTenThousandCycles) {
  HostDevice device({.memory = kMemory, .granularity = kDevicePage});
  DeviceLayout gpu(device, plan_of_talks(), {.commit = Commit::with_talks, .growth_step = 16});
  std::byte* const keys = gpu.history_at(gpu.plan().history.regions()[0]).data();
  gpu.talk(0).prepare(10);
  static_cast<void>(gpu.talk(0).advance(10));
  Pattern(1).write(keys, 10 * kRandomRow);
  gpu.talk(0).prepare(200);
  for (int cycle = 0; cycle < 10'000; ++cycle) {
    gpu.talk(1).prepare(1);
    static_cast<void>(gpu.talk(1).advance());
    gpu.clear_pass();
    gpu.clear_talk(1);
  }
  EXPECT_TRUE(Pattern(1).is_at(keys, 10 * kRandomRow));
  EXPECT_EQ(gpu.stat().scratch.clears, 20'000U);
}

}  // namespace
}  // namespace tapedeck::tests
