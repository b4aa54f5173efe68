// SPDX-License-Identifier: Apache-2.0
#include "llama/talk.hpp"

#include <gmock/gmock.h>

#include <optional>

#include "base/thrown.hpp"
#include "llama/support.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"

namespace tapedeck::tests {
namespace {

using llama::positions_for;
using llama::Sampler;
using llama::TokenId;

// The tokens of a prompt, the positions requested, and the positions that the talk gets.
struct Positions {
  std::size_t prompt;
  std::size_t asked;
  std::size_t had;
};

TEST(PositionsFor, CountsAsTheReferenceDoesOrAsTheModelTakes) {
  for (const Positions& one :
       {Positions{1, 0, 20}, {1, 7, 7}, {7, 7, 7}, {20, 21, 20}, {20, 1'000'000, 20}}) {
    EXPECT_EQ(positions_for(kSmall, one.prompt, one.asked), one.had) << one.asked;
  }
  llama::Shape longer = kSmall;
  longer.longer_talks = true;
  for (const Positions& one : {Positions{1, 0, 20}, {1, 7, 7}, {21, 30, 30}}) {
    EXPECT_EQ(positions_for(longer, one.prompt, one.asked), one.had) << one.asked;
  }
  const auto too_long = thrown<InvalidArgument>(
      [&] { static_cast<void>(positions_for(longer, 1, std::size_t{1} << 31)); });
  EXPECT_EQ(too_long.argument(), "positions");
  EXPECT_EQ(too_long.limit(), (std::uint64_t{1} << 31) - 1);
  for (const llama::Shape& shape : {kSmall, longer}) {
    for (const Positions& one : {Positions{0, 0, 1}, {8, 7, 7}, {21, 0, 20}}) {
      const auto refused = thrown<InvalidArgument>(
          [&] { static_cast<void>(positions_for(shape, one.prompt, one.asked)); });
      EXPECT_EQ(refused.argument(), "prompt");
      EXPECT_EQ(refused.value(), one.prompt);
      EXPECT_EQ(refused.limit(), one.had);
    }
  }
}

class TalkTest : public ::testing::Test {
 protected:
  /// Holds a talk, and records its tokens in `previous_` and `tokens_`.
  std::size_t hold(std::size_t positions, std::size_t stop_after = 1000,
                   std::span<const TokenId> ends = kEndAtBos,
                   const std::atomic<bool>& stop = kNeverStop,
                   const llama::OnPhase& on_phase = nullptr) {
    previous_.clear();
    tokens_.clear();
    const std::uint64_t before = host_.layout.passes();
    const std::size_t passes = llama::hold_talk(
        host_.decoder, sampler_, prompt_, positions, ends, stop,
        [&](TokenId previous, TokenId token) {
          previous_.push_back(previous);
          tokens_.push_back(token);
          EXPECT_EQ(host_.layout.passes() - before, tokens_.size());  // its pass is over
          return tokens_.size() < stop_after;
        },
        on_phase);
    EXPECT_EQ(passes, tokens_.size());
    EXPECT_EQ(host_.decoder.position(), passes);
    EXPECT_EQ(host_.layout.scratch().used(), host_.layout.scratch().floor());
    host_.layout.clear_talk();
    return passes;
  }

  TempFolder folder_;
  Host host_{made(folder_, "m", kSmall)};
  Sampler sampler_{0};
  std::vector<TokenId> prompt_ = {1, 270, 280, 290};
  std::vector<TokenId> previous_;
  std::vector<TokenId> tokens_;
};

TEST_F(TalkTest, RepeatsThePromptAndGoesOnUntilFull) {
  ASSERT_EQ(hold(10), 10U);
  EXPECT_EQ(std::vector(tokens_.begin(), tokens_.begin() + 3),
            std::vector(prompt_.begin() + 1, prompt_.end()));
  EXPECT_EQ(previous_[0], 1U);
  for (std::size_t i = 1; i < 10; ++i) EXPECT_EQ(previous_[i], tokens_[i - 1]);
  EXPECT_EQ(hold(4), 4U);  // only as long as the prompt, but it still gets a token
}

TEST_F(TalkTest, StopsWhenTheListenerOrTheFlagSaysSo) {
  EXPECT_EQ(hold(0, 5), 5U);
  const std::atomic<bool> stop{true};
  EXPECT_EQ(hold(0, 1000, kEndAtBos, stop), 1U);
}

// A sampler produces an end at some point, and a prompt may contain one.
TEST_F(TalkTest, EndsAtAnyOfTheEndsAndTellsIt) {
  const std::vector<TokenId> ends = {1, 280};
  EXPECT_EQ(hold(0, 1000, ends), 2U);
  EXPECT_THAT(tokens_, ::testing::ElementsAre(270, 280));
  prompt_ = {1, 270, 1, 280};
  EXPECT_EQ(hold(0), 2U);
  EXPECT_THAT(tokens_, ::testing::ElementsAre(270, 1));
}

// Used as an engine uses them.
TEST_F(TalkTest, TellsItsPhases) {
  Phases phases(host_.layout);
  std::optional<PhaseScope> phase;
  const auto hold_in_phases = [&](std::size_t positions) {
    hold(positions, 1000, kEndAtBos, kNeverStop,
         [&](std::string_view next) { phase.emplace(phases, next); });
    phase.reset();
  };
  hold_in_phases(4);  // the prompt fills it
  ASSERT_EQ(phases.figures().size(), 1U);
  hold_in_phases(10);
  const std::vector<PhaseFigures> all = phases.figures();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "prefill");
  EXPECT_EQ(all[0].times, 2U);
  EXPECT_EQ(all[0].passes, 8U);
  EXPECT_EQ(all[1].name, "decode");
  EXPECT_EQ(all[1].times, 1U);
  EXPECT_EQ(all[1].passes, 6U);
  EXPECT_EQ(all[1].peaks.scratch, host_.layout.plan().scratch.bytes());
}

TEST_F(TalkTest, ASeedGivesTheSameTalk) {
  const std::vector<TokenId> ids = ids_of_talk(host_.decoder, prompt_, 0, Sampler(1, 7));
  EXPECT_EQ(ids_of_talk(host_.decoder, prompt_, 0, Sampler(1, 7)), ids);
  EXPECT_NE(ids_of_talk(host_.decoder, prompt_, 0, Sampler(1, 8)), ids);
  EXPECT_NE(ids_of_talk(host_.decoder, prompt_), ids);
}

}  // namespace
}  // namespace tapedeck::tests
