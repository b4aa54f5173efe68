// SPDX-License-Identifier: Apache-2.0
// Talks of each kind of side: random operations, checked against an oracle that knows nothing of
// pages. TAPEDECK_LIVES sets the number of lives, and TAPEDECK_SEED the first one.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/lives.hpp"
#include "base/thrown.hpp"
#include "layout/cache_region.hpp"
#include "layout/side_kinds.hpp"
#include "memory/pattern.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/talk_error.hpp"

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
  close,
  open,
  clear_pass,
  take,
  decommit,
  seal
};
constexpr std::array kActNames = {"prepare", "advance",    "rewind", "clear_talk", "close",
                                  "open",    "clear_pass", "take",   "decommit",   "seal"};
constexpr std::array<unsigned, kActNames.size()> kWeights = {340, 400, 30, 12, 12,
                                                             66,  30,  30, 30, 50};

struct Tally {
  std::array<std::uint64_t, kActNames.size()> acts{};
  std::uint64_t acts_of_all = 0;
  std::uint64_t full = 0;    // no page was left
  std::uint64_t ended = 0;   // the plan had no more tokens
  std::uint64_t grew = 0;    // pages were committed
  std::uint64_t reused = 0;  // of which some belonged to another talk
  std::uint64_t reopened = 0;
  std::uint64_t rewound_over_growth = 0;
  std::uint64_t refused_sealed = 0;
};

Plan plan_of_talks() {
  Plan plan = keys_and_values(kRandomTalks, kRandomContext, kRandomRow);
  plan.scratch.append({.name = "decode.logits", .role = RegionRole::decode, .bytes = 4096});
  return plan;
}

template <class Kind>
class TalksLife {
 public:
  TalksLife(std::uint64_t seed, Tally& tally) : random_(seed), tally_(tally) {
    for (std::size_t talk = 0; talk < kRandomTalks; ++talk) {
      talks_.push_back({.handle = layout_.talk(talk)});
      for (const Region& region : layout_.plan().history.regions()) {
        places_.push_back(layout_.history_at(region, talk).data());
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
  static constexpr bool kOnDevice = Kind::kOnDevice;
  // A device has limited memory; the host has a limited budget.
  static constexpr SideAsked kAsked = {.growth_step = 16,
                                       .history_budget = kOnDevice ? 0 : kMemory};

  // What the oracle knows of a talk: the number of each token's pattern.
  struct Expected {
    typename Kind::Handle handle;
    std::vector<std::uint64_t> rows{};
  };

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  Act pick() {
    auto at = static_cast<unsigned>(below(1000));
    for (std::size_t i = 0; i < kWeights.size(); ++i) {
      if (at < kWeights[i]) {
        const auto act = static_cast<Act>(i);
        return act == Act::seal && !kOnDevice ? Act::decommit : act;
      }
      at -= kWeights[i];
    }
    return Act::prepare;
  }

  void perform(Act act) {
    Expected& talk = talks_[below(kRandomTalks)];
    switch (act) {
      case Act::prepare:
        return prepare(talk);
      case Act::advance:
        return advance(talk);
      case Act::rewind:
        return rewind(talk);
      case Act::clear_talk:
        if (refused_as_closed(talk)) return;
        layout_.clear_talk(talk.handle.index());
        return talk.rows.clear();
      case Act::close:
        if (refused_as_closed(talk)) return;
        closed_.push_back(talk.handle.index());
        talk.handle.close();
        return talk.rows.clear();
      case Act::open:
        return open();
      case Act::clear_pass:
        return layout_.clear_pass();
      case Act::take:
        EXPECT_EQ(layout_.scratch().try_take(1), nullptr);  // all of it is planned
        return;
      case Act::decommit:
        static_cast<void>(layout_.decommit());
        if constexpr (kOnDevice) {
          EXPECT_EQ(layout_.stat().pool_free, 0U);
        }
        return;
      case Act::seal:
        if constexpr (kOnDevice) live_sealed(talk.handle.index());
    }
  }

  bool refused_as_closed(Expected& talk) {
    if (talk.handle.is_open()) return false;
    EXPECT_THROW(talk.handle.prepare(1), WrongState);
    EXPECT_THROW((void)talk.handle.advance(), WrongState);
    return true;
  }

  void open() {
    if (closed_.empty()) {
      EXPECT_THROW((void)layout_.open_talk(), WrongState);
      return;
    }
    const auto handle = layout_.open_talk();
    ASSERT_EQ(handle.index(), closed_.back());
    closed_.pop_back();
    talks_[handle.index()].handle = handle;
    ++tally_.reopened;
  }

  void prepare(Expected& talk) {
    if (refused_as_closed(talk)) return;
    const std::uint64_t tokens = 1 + below(500);
    const std::size_t index = talk.handle.index();
    const std::size_t all = layout_.stat().history.committed;
    const std::size_t own = layout_.history(index).committed();
    try {
      talk.handle.prepare(tokens);
      EXPECT_LE(talk.rows.size() + tokens, kRandomContext);
    } catch (const TalkFull&) {
      ++tally_.ended;
      EXPECT_GT(talk.rows.size() + tokens, kRandomContext);
    } catch (const Error& error) {
      ++tally_.full;
      EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
      EXPECT_EQ(layout_.history(index).committed(), own);
    }
    const std::size_t grown = layout_.history(index).committed() - own;
    if (grown == 0) return;
    ++tally_.grew;
    if (layout_.stat().history.committed < all + grown) ++tally_.reused;
  }

  void advance(Expected& talk) {
    if (refused_as_closed(talk)) return;
    const std::uint64_t tokens = 1 + below(300);
    const std::uint64_t room = talk.handle.room();
    try {
      const std::uint64_t first = talk.handle.advance(tokens);
      ASSERT_EQ(first, talk.rows.size());
      ASSERT_LE(tokens, room);
    } catch (const NotPrepared& error) {
      EXPECT_GT(tokens, room);
      EXPECT_EQ(error.needs().room, room);
      return;
    } catch (const TalkFull&) {
      EXPECT_GT(talk.rows.size() + tokens, kRandomContext);
      return;
    }
    for (std::uint64_t i = 0; i < tokens; ++i) write_row(talk);
  }

  void write_row(Expected& talk) {
    const std::size_t row = talk.rows.size();
    talk.rows.push_back(++patterns_);
    const std::size_t index = talk.handle.index();
    Pattern(patterns_).write(place(index, 0) + row * kRandomRow, kRandomRow);
    Pattern(patterns_ + 7).write(place(index, 1) + row * kRandomRow, kRandomRow);
  }

  void rewind(Expected& talk) {
    if (refused_as_closed(talk)) return;
    const std::uint64_t tokens = below(100);
    const std::size_t kept = talk.rows.size() - std::min<std::size_t>(tokens, talk.rows.size());
    if (talk.rows.size() * kRandomRow / Kind::kPage != kept * kRandomRow / Kind::kPage) {
      ++tally_.rewound_over_growth;
    }
    talk.handle.rewind(tokens);
    talk.rows.resize(kept);
  }

  // Uses a separate layout, because sealing is permanent.
  void live_sealed(std::size_t index) requires kOnDevice {
    DeviceLayout sealed(*side_.card.device, plan_of_talks(),
                        {.commit = Commit::with_talks, .growth_step = 16});
    DeviceTalk talk = sealed.talk(index);
    try {
      talk.prepare(30);
    } catch (const Error&) {
      return;
    }
    sealed.seal();
    EXPECT_EQ(talk.advance(32), 0U);
    sealed.clear_talk(index);
    EXPECT_THROW(talk.prepare(33), WrongState);
    EXPECT_THROW(sealed.talk((index + 1) % kRandomTalks).prepare(1), WrongState);
    EXPECT_THROW((void)talk.decommit(), WrongState);
    EXPECT_EQ(thrown<WrongState>([&] { (void)sealed.decommit(); }).state(), ObjectState::sealed);
    EXPECT_EQ(talk.advance(32), 0U);
    ++tally_.refused_sealed;
  }

  [[nodiscard]] std::byte* place(std::size_t talk, std::size_t region) const {
    return places_[talk * 2 + region];
  }

  void check_figures() {
    std::uint64_t tokens = 0;
    std::uint64_t committed = 0;
    for (std::size_t talk = 0; talk < kRandomTalks; ++talk) {
      const TalkStat one = layout_.talk_stat(talk);
      ASSERT_EQ(one.tokens, talks_[talk].rows.size());
      ASSERT_EQ(one.open, talks_[talk].handle.is_open());
      ASSERT_EQ(one.history.used, one.tokens * kRandomRow * 2);
      ASSERT_GE(one.history.committed, (one.tokens + one.room) * kRandomRow * 2);
      tokens += one.tokens;
      committed += one.history.committed;
    }
    const auto stat = layout_.stat();
    ASSERT_EQ(stat.tokens, tokens);
    ASSERT_EQ(stat.history.committed, committed);
    ASSERT_LE(committed, kMemory);
    if constexpr (kOnDevice) {
      ASSERT_EQ(stat.pool_held - stat.pool_free, committed);
      ASSERT_LE(stat.pool_held, kMemory);
    }
  }

  void check_bytes() {
    for (std::size_t talk = 0; talk < kRandomTalks; ++talk) {
      for (std::size_t region = 0; region < 2; ++region) {
        const std::byte* const at =
            layout_.history_at(layout_.plan().history.regions()[region], talk).data();
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
  Kind side_{plan_of_talks(), kAsked, kMemory};
  decltype(Kind::layout)& layout_ = side_.layout;
  std::vector<std::byte*> places_;
  std::vector<Expected> talks_;
  std::vector<std::size_t> closed_;
  std::uint64_t patterns_ = 0;
};

template <class Kind>
class TalksRandom : public ::testing::Test {};
TYPED_TEST_SUITE(TalksRandom, SideKinds);

TYPED_TEST(TalksRandom, AgreeWithTheOracle) {
  const std::uint64_t asked = lives(0);
  if (kThreadSanitized && asked == 0) GTEST_SKIP() << kOneThread;
  constexpr bool kSeals = TypeParam::kOnDevice;
  Tally tally;
  const std::uint64_t first = first_seed(1);
  for (std::uint64_t seed = first; seed < first + (asked == 0 ? 20 : asked); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TalksLife<TypeParam>(seed, tally).play(2500);
    if (this->HasFailure()) return;
  }
  if (asked != 0) return;  // a few lives may lack some events
  for (std::size_t act = 0; act < tally.acts.size(); ++act) {
    if (static_cast<Act>(act) == Act::seal && !kSeals) continue;
    EXPECT_GE(tally.acts[act] * 100, tally.acts_of_all) << kActNames[act];
  }
  EXPECT_GE(tally.full, 100U);
  EXPECT_GE(tally.ended, 100U);
  EXPECT_GE(tally.grew, 100U);
  EXPECT_GE(tally.reused, 100U);
  EXPECT_GE(tally.reopened, 100U);
  EXPECT_GE(tally.rewound_over_growth, 100U);
  EXPECT_GE(tally.refused_sealed, kSeals ? 100U : 0U);
}

// As many conversations as a server has in a day, after memory has stopped growing.
TYPED_TEST(TalksRandom, BytesFromBeforeGrowthAreThereAfterTenThousandCycles) {
  TypeParam side(plan_of_talks(), {.growth_step = 16}, kMemory);
  auto& layout = side.layout;
  std::byte* const keys = layout.history_at(layout.plan().history.regions()[0]).data();
  layout.talk(0).prepare(10);
  (void)layout.talk(0).advance(10);
  Pattern(1).write(keys, 10 * kRandomRow);
  layout.talk(0).prepare(200);
  for (int cycle = 0; cycle < 10'000; ++cycle) {
    auto talk = layout.talk(1);
    talk.prepare(1);
    (void)talk.advance();
    layout.clear_pass();
    layout.clear_talk(1);
    talk.close();
    EXPECT_EQ(layout.open_talk().index(), 1U);
  }
  EXPECT_TRUE(Pattern(1).is_at(keys, 10 * kRandomRow));
  EXPECT_EQ(layout.stat().scratch.clears, 20'000U);
}

}  // namespace
}  // namespace tapedeck::tests
