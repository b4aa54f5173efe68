#include "llama/talk.hpp"

#include <gmock/gmock.h>

#include <optional>

#include "llama/support.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"

namespace tapedeck::tests {
namespace {

using llama::hold_talk;
using llama::OnToken;
using llama::positions_for;
using llama::Sampler;
using llama::TalkEnd;
using llama::TalkResult;
using llama::TokenId;

TEST(PositionsFor, CountsAsTheReferenceDoes) {
  EXPECT_EQ(positions_for(kSmall, 1, 0), 20U);
  EXPECT_EQ(positions_for(kSmall, 1, 7), 7U);
  EXPECT_EQ(positions_for(kSmall, 7, 7), 7U);
  EXPECT_EQ(positions_for(kSmall, 20, 21), 20U);
  EXPECT_EQ(positions_for(kSmall, 20, 1'000'000), 20U);
}

TEST(PositionsFor, MoreThanTheModelIsMadeForWhereItTakesThem) {
  llama::Shape shape = kSmall;
  shape.longer_talks = true;
  EXPECT_EQ(positions_for(shape, 1, 0), 20U);
  EXPECT_EQ(positions_for(shape, 1, 7), 7U);
  EXPECT_EQ(positions_for(shape, 21, 30), 30U);
  EXPECT_THROW(static_cast<void>(positions_for(shape, 21, 0)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(positions_for(shape, 1, std::size_t{1} << 31)), InvalidArgument);
}

TEST(PositionsFor, RefusesAPromptThatDoesNotFit) {
  EXPECT_THROW(static_cast<void>(positions_for(kSmall, 0, 0)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(positions_for(kSmall, 8, 7)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(positions_for(kSmall, 21, 0)), InvalidArgument);
}

class TalkTest : public ::testing::Test {
 protected:
  struct Heard {
    std::vector<TokenId> previous;
    std::vector<TokenId> tokens;
  };

  OnToken hear(std::size_t stop_after = 1000) {
    return [this, stop_after](TokenId previous, TokenId token) {
      heard_.previous.push_back(previous);
      heard_.tokens.push_back(token);
      EXPECT_EQ(host_.layout.passes(), heard_.tokens.size());  // its pass is over
      return heard_.tokens.size() < stop_after;
    };
  }

  TempFolder folder_;
  Host host_{made(folder_, "m", kSmall)};
  Sampler sampler_{0};
  Heard heard_;
  const std::vector<TokenId> prompt_ = {1, 270, 280, 290};
};

TEST_F(TalkTest, RepeatsThePromptAndGoesOnUntilFull) {
  const TalkResult result =
      hold_talk(host_.decoder, sampler_, prompt_, 10, kEndAtBos, kNeverStop, hear());
  ASSERT_EQ(result.end, TalkEnd::full);
  EXPECT_EQ(result.passes, 10U);
  ASSERT_EQ(heard_.tokens.size(), 10U);
  EXPECT_EQ(std::vector(heard_.tokens.begin(), heard_.tokens.begin() + 3),
            std::vector(prompt_.begin() + 1, prompt_.end()));
  EXPECT_EQ(heard_.previous[0], 1U);
  for (std::size_t i = 1; i < 10; ++i) EXPECT_EQ(heard_.previous[i], heard_.tokens[i - 1]);
  EXPECT_EQ(host_.decoder.position(), 10U);
  EXPECT_EQ(host_.layout.scratch().used(), host_.layout.scratch().floor());
}

TEST_F(TalkTest, StopsWhenTheListenerOrTheFlagSaysSo) {
  TalkResult result =
      hold_talk(host_.decoder, sampler_, prompt_, 0, kEndAtBos, kNeverStop, hear(5));
  EXPECT_EQ(result.end, TalkEnd::stopped);
  EXPECT_EQ(result.passes, 5U);
  EXPECT_EQ(heard_.tokens.size(), 5U);
  EXPECT_EQ(host_.layout.scratch().used(), host_.layout.scratch().floor());
  host_.layout.clear_talk();

  const std::atomic<bool> stop{true};
  result = hold_talk(host_.decoder, sampler_, prompt_, 0, kEndAtBos, stop, hear());
  EXPECT_EQ(result.end, TalkEnd::stopped);
  EXPECT_EQ(result.passes, 1U);
}

TEST_F(TalkTest, EndsAtBosAndTellsIt) {
  // A sampler of this model says BOS sooner or later; so does a prompt that contains it.
  const TalkResult result = hold_talk(host_.decoder, sampler_, std::vector<TokenId>{1, 270, 1, 280},
                                      0, kEndAtBos, kNeverStop, hear());
  EXPECT_EQ(result.end, TalkEnd::by_model);
  EXPECT_EQ(result.passes, 2U);
  EXPECT_THAT(heard_.tokens, ::testing::ElementsAre(270, 1));
}

TEST_F(TalkTest, EndsAtAnyOfTheEnds) {
  const std::vector<TokenId> ends = {1, 280};
  const TalkResult result =
      hold_talk(host_.decoder, sampler_, prompt_, 0, ends, kNeverStop, hear());
  EXPECT_EQ(result.end, TalkEnd::by_model);
  EXPECT_THAT(heard_.tokens, ::testing::ElementsAre(270, 280));
}

TEST_F(TalkTest, APromptAsLongAsTheTalkStillGetsAToken) {
  const TalkResult result =
      hold_talk(host_.decoder, sampler_, prompt_, 4, kEndAtBos, kNeverStop, hear());
  EXPECT_EQ(result.passes, 4U);
  EXPECT_EQ(heard_.tokens.size(), 4U);
}

// As an engine uses them.
TEST_F(TalkTest, TellsItsPhases) {
  Phases phases(host_.layout);
  std::optional<PhaseScope> phase;
  const auto hold = [&](std::size_t positions) {
    const auto enter = [&](llama::TalkPhase next) { phase.emplace(phases, to_string(next)); };
    static_cast<void>(hold_talk(host_.decoder, sampler_, prompt_, positions, kEndAtBos, kNeverStop,
                                hear(), enter));
    phase.reset();
    host_.layout.clear_talk();
  };
  hold(4);  // the prompt fills it
  ASSERT_EQ(phases.figures().size(), 1U);
  hold(10);
  const std::vector<PhaseFigures> all = phases.figures();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "prefill");
  EXPECT_EQ(all[0].times, 2U);
  EXPECT_EQ(all[0].passes, 8U);
  EXPECT_EQ(all[1].name, "decode");
  EXPECT_EQ(all[1].times, 1U);
  EXPECT_EQ(all[1].passes, 6U);
  EXPECT_EQ(all[1].host.scratch, host_.layout.plan().scratch.bytes());
}

TEST_F(TalkTest, ASeedGivesTheSameTalk) {
  const std::vector<TokenId> ids = ids_of_talk(host_, prompt_, 0, Sampler(1, 7));
  EXPECT_EQ(ids_of_talk(host_, prompt_, 0, Sampler(1, 7)), ids);
  EXPECT_NE(ids_of_talk(host_, prompt_, 0, Sampler(1, 8)), ids);
  EXPECT_NE(ids_of_talk(host_, prompt_), ids);
}

}  // namespace
}  // namespace tapedeck::tests
