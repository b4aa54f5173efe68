// SPDX-License-Identifier: Apache-2.0
// Random operations, checked against a simple oracle. TAPEDECK_SEED replays or varies them.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "memory/random_life.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::size_t kLives = 150;
constexpr std::size_t kSteps = 300;

struct Failure {
  std::size_t steps;  // it must fail within this many steps
  std::string report;
};

[[nodiscard]] std::uint64_t first_seed() {
  const char* asked = std::getenv("TAPEDECK_SEED");
  return asked == nullptr ? 20'251'120 : std::strtoull(asked, nullptr, 0);
}

template <class Log>
[[nodiscard]] std::string last_lines(const Log& log) {
  std::string text;
  const std::size_t from = log.size() > 12 ? log.size() - 12 : 0;
  for (std::size_t i = from; i < log.size(); ++i) {
    text += "  " + std::to_string(i + 1) + ". " + log[i] + "\n";
  }
  return text;
}

template <class AnyTape>
[[nodiscard]] std::optional<Failure> play(std::uint64_t seed, std::size_t steps, Tally& tally) {
  RandomLife<AnyTape> life(seed, tally);
  try {
    life.play(steps);
    return std::nullopt;
  } catch (const Disagreement& broken) {
    return Failure{.steps = life.step() + (life.step() < steps ? 1 : 0),
                   .report = broken.what() + ("\nthe last operations:\n" + last_lines(life.log()))};
  }
}

// Damaged bytes are found at the next check. Bisection then finds the step that damaged them.
template <class AnyTape>
[[nodiscard]] Failure shortest(std::uint64_t seed, Failure failure) {
  std::size_t passes = 0;
  while (failure.steps - passes > 1) {
    const std::size_t middle = passes + (failure.steps - passes) / 2;
    Tally ignored;
    if (auto sooner = play<AnyTape>(seed, middle, ignored)) {
      failure = std::move(*sooner);
    } else {
      passes = middle;
    }
  }
  return failure;
}

// Plays lives until one fails.
template <class AnyTape>
[[nodiscard]] std::optional<std::pair<std::uint64_t, Failure>> first_failure(Tally& tally) {
  for (std::uint64_t seed = first_seed(); seed < first_seed() + kLives; ++seed) {
    if (auto failure = play<AnyTape>(seed, kSteps, tally)) {
      return std::pair(seed, shortest<AnyTape>(seed, std::move(*failure)));
    }
  }
  return std::nullopt;
}

void expect_distribution(const Tally& tally) {
  std::uint64_t all = 0;
  for (const std::uint64_t count : tally.acts) all += count;
  EXPECT_GE(all, 40'000U);
  for (std::size_t act = 0; act < kActs; ++act) {
    EXPECT_GE(tally.acts[act] * 100, all) << kActKinds[act].name << " is less than 1 %";
  }
  EXPECT_GE(tally.full, 100U);
  EXPECT_GE(tally.grows, 100U);
  EXPECT_GE(tally.spills, 100U);
  EXPECT_GE(tally.rewinds_over_growth, 100U);
  EXPECT_GE(tally.rewinds_over_spill, 100U);
}

TEST(TapeRandom, AgreesWithTheOracle) {
  std::printf("TAPEDECK_SEED=%llu\n", static_cast<unsigned long long>(first_seed()));
  std::fflush(stdout);
  Tally tally;
  if (const auto failed = first_failure<Tape>(tally)) {
    FAIL() << failed->second.report << "replay with TAPEDECK_SEED=" << failed->first
           << "; the shortest failing prefix has " << failed->second.steps << " operations";
  }
  expect_distribution(tally);
}

// --- mutants: the oracle must see each of them --------------------------------------------------

/// Remembers the last line that was taken, while it is still the end of the tape.
class Remembering : public Tape {
 public:
  explicit Remembering(Tape tape) : Tape(std::move(tape)) {}

 protected:
  [[nodiscard]] std::byte* remembered() const { return used() == used_then_ ? last_ : nullptr; }

  void* take_and_remember(std::size_t bytes, std::size_t align) noexcept {
    const std::size_t before = used();
    void* at = Tape::try_take(bytes, align);
    if (used() != before && align >= kLine) {
      last_ = static_cast<std::byte*>(at);
      used_then_ = used();
    }
    return at;
  }

 private:
  std::byte* last_ = nullptr;
  std::size_t used_then_ = 0;
};

/// Occasionally returns the same place twice.
class GivesTwice : public Remembering {
 public:
  using Remembering::Remembering;
  void* try_take(std::size_t bytes, std::size_t align) noexcept {
    if (++takes_ % 8 == 0 && bytes == 1 && remembered() != nullptr) return remembered();
    return take_and_remember(bytes, align);
  }

 private:
  std::uint64_t takes_ = 0;
};

/// Writes a byte into an earlier take, which is not noticed immediately.
class WritesBehind : public Remembering {
 public:
  using Remembering::Remembering;
  void* try_take(std::size_t bytes, std::size_t align) noexcept {
    if (++takes_ % 64 == 0 && remembered() != nullptr) *remembered() ^= std::byte{1};
    return take_and_remember(bytes, align);
  }

 private:
  std::uint64_t takes_ = 0;
};

/// Occasionally does not rewind.
class ForgetsToRewind : public Tape {
 public:
  explicit ForgetsToRewind(Tape tape) : Tape(std::move(tape)) {}
  void rewind(const Mark& mark) noexcept {
    if (++rewinds_ % 5 != 0) Tape::rewind(mark);
  }

 private:
  std::uint64_t rewinds_ = 0;
};

template <class Mutant>
void expect_caught() {
  Tally tally;
  const auto failed = first_failure<Mutant>(tally);
  ASSERT_TRUE(failed) << "the oracle found nothing";
  const auto& [seed, failure] = *failed;
  Tally ignored;
  EXPECT_TRUE(play<Mutant>(seed, failure.steps, ignored)) << failure.report;
  EXPECT_FALSE(play<Mutant>(seed, failure.steps - 1, ignored)) << "a shorter prefix fails too";
}

TEST(TapeRandom, CatchesATapeThatGivesAPlaceTwice) { expect_caught<GivesTwice>(); }
TEST(TapeRandom, CatchesATapeThatWritesIntoWhatItGave) { expect_caught<WritesBehind>(); }
TEST(TapeRandom, CatchesATapeThatForgetsToRewind) { expect_caught<ForgetsToRewind>(); }

}  // namespace
}  // namespace tapedeck::tests
