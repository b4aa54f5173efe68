// A reader between any two steps of the writer, and a writer between any two steps of a reader. A
// program of its own: the tape's header is compiled with an atomic that can be interrupted, so that
// no luck with threads is needed.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

// All that the tape's header includes, so that only the tape itself is changed.
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_stat.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::tests {

// Called after each store and before each load, where they are set; not by what they do themselves.
std::function<void()> after_store;
std::function<void()> before_load;

inline void interrupt(std::function<void()>& with) {
  if (!with) return;
  const std::function<void()> once = std::exchange(with, nullptr);
  once();
  with = once;
}

}  // namespace tapedeck::tests

namespace std {  // NOLINT(cert-dcl58-cpp): where the header looks for it

template <class T>
class interruptible {
 public:
  interruptible() = default;
  constexpr interruptible(T value) noexcept : value_(value) {}
  T load(memory_order) const noexcept {
    tapedeck::tests::interrupt(tapedeck::tests::before_load);
    return value_;
  }
  void store(T value, memory_order) noexcept {
    value_ = value;
    tapedeck::tests::interrupt(tapedeck::tests::after_store);
  }

 private:
  T value_{};
};

}  // namespace std

#define atomic interruptible
#include "tapedeck/memory/tape.hpp"
#undef atomic

namespace tapedeck::tests {
namespace {

// What a reader may rely on, all the time.
class Reader {
 public:
  explicit Reader(const Tape& tape) : tape_(tape) {}

  void look() {
    const std::size_t used = tape_.used();
    most_ = std::max(most_, used);
    const std::size_t peak = tape_.peak();
    EXPECT_LE(used, tape_.total());
    EXPECT_GE(peak, most_) << "less than what was seen to be used";
    EXPECT_GE(peak, peak_) << "the peak went down";
    peak_ = peak;
    ++looks_;
  }

  [[nodiscard]] std::size_t looks() const { return looks_; }

 private:
  const Tape& tape_;
  std::size_t most_ = 0;
  std::size_t peak_ = 0;
  std::size_t looks_ = 0;
};

struct Step {
  const char* name;
  std::function<void(Tape&)> act;
};

// Each leaves a head lower than it was in between, and a new peak behind.
[[nodiscard]] std::vector<Step> steps() {
  const auto take_more = [](Tape& tape) { (void)tape.take(tape.peak() - tape.used() + 64); };
  return {{"take", take_more},
          {"packed take", [](Tape& tape) { (void)tape.take(24, 8); }},
          {"clear",
           [=](Tape& tape) {
             take_more(tape);
             tape.clear();
           }},
          {"rewind",
           [=](Tape& tape) {
             const Tape::Mark mark = tape.mark();
             take_more(tape);
             tape.rewind(mark);
           }},
          {"restart peak",
           [=](Tape& tape) {
             take_more(tape);
             tape.clear();
             tape.restart_peak();
             take_more(tape);
             tape.clear();
             tape.restart_peak();
           }},
          {"clear twice", [=](Tape& tape) {
             take_more(tape);
             tape.clear();
             take_more(tape);
             tape.clear();
           }}};
}

TEST(TapeInterleaving, AReaderBetweenAnyTwoStoresOfTheWriter) {
  Tape tape = Tape::start(1_MiB);
  Reader reader(tape);
  after_store = [&] { reader.look(); };
  for (int round = 0; round < 10; ++round) {
    for (const Step& step : steps()) {
      SCOPED_TRACE(step.name);
      step.act(tape);
      reader.look();
    }
  }
  after_store = nullptr;
  EXPECT_GT(reader.looks(), 10 * 5 * 3U);
}

// The writer comes in before the n-th load of the reader's look, for each n.
void look_interrupted_by(const Step& step, std::size_t n, bool& reached) {
  Tape tape = Tape::start(1_MiB);
  (void)tape.take(1000);
  Reader reader(tape);
  reader.look();
  std::size_t loads = 0;
  before_load = [&] {
    if (++loads == n) step.act(tape);
  };
  reader.look();
  before_load = nullptr;
  reader.look();
  reached = loads >= n;
}

TEST(TapeInterleaving, AWriterBetweenAnyTwoLoadsOfAReader) {
  for (const Step& step : steps()) {
    SCOPED_TRACE(step.name);
    bool reached = true;
    for (std::size_t n = 1; reached; ++n) {
      SCOPED_TRACE(n);
      look_interrupted_by(step, n, reached);
      ASSERT_LT(n, 100U);
      EXPECT_TRUE(reached || n > 3) << "a look has three loads at least";
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
