// SPDX-License-Identifier: Apache-2.0
// A reader runs between any two steps of the writer, and a writer between any two steps of a
// reader. A program of its own: the tapes' headers are compiled with an atomic that can be
// interrupted, so the test does not depend on the timing of threads.

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

// Everything that the tapes' headers include, so that only the tapes themselves are changed.
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device_block.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_stat.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace tapedeck::tests {

// Called after each store and before each load, if set. They are not called recursively.
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
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/memory/tape.hpp"
#undef atomic
#include "memory/watched_tape.hpp"

namespace tapedeck::tests {
namespace {

struct HostKind {
  static constexpr const char* kName = "Host";
  Tape tape = Tape::start(1_MiB);
};
struct DeviceKind {
  static constexpr const char* kName = "Device";
  HostDevice device;
  DeviceTape tape = DeviceTape::start(device, 1_MiB);
};

template <class AnyTape>
struct Step {
  const char* name;
  std::function<void(AnyTape&)> act;
};

// Each ends with a lower head than in between, and a new peak.
template <class AnyTape>
[[nodiscard]] std::vector<Step<AnyTape>> steps() {
  const auto take_more = [](AnyTape& tape) { (void)tape.take(tape.peak() - tape.used() + 64); };
  const auto clear = [=](AnyTape& tape) {
    take_more(tape);
    tape.clear();
  };
  const auto restart = [=](AnyTape& tape) {
    clear(tape);
    tape.restart_peak();
  };
  return {{"take", take_more},
          {"packed take", [](AnyTape& tape) { (void)tape.take(24, 8); }},
          {"clear", clear},
          {"rewind",
           [=](AnyTape& tape) {
             const typename AnyTape::Mark mark = tape.mark();
             take_more(tape);
             tape.rewind(mark);
           }},
          {"restart peak", restart},
          {"restart peak twice",
           [=](AnyTape& tape) {
             restart(tape);
             restart(tape);
           }},
          {"restart peak amidst a pass",
           [=](AnyTape& tape) {
             take_more(tape);
             tape.restart_peak();
             tape.clear();
           }},
          {"clear twice", [=](AnyTape& tape) {
             clear(tape);
             clear(tape);
           }}};
}

template <class Kind>
class TapeInterleaving : public ::testing::Test {
 protected:
  // A failed test may have left them set.
  void TearDown() override { after_store = before_load = nullptr; }
};

struct KindNames {
  template <class Kind>
  static std::string GetName(int /*index*/) {  // NOLINT(readability-identifier-naming)
    return Kind::kName;
  }
};

using Kinds = ::testing::Types<HostKind, DeviceKind>;
TYPED_TEST_SUITE(TapeInterleaving, Kinds, KindNames);

TYPED_TEST(TapeInterleaving, AReaderBetweenAnyTwoStoresOfTheWriter) {
  TypeParam kind;
  Watcher reader(kind.tape);
  std::size_t looks = 0;
  after_store = [&] {
    reader.look();
    ++looks;
  };
  for (int round = 0; round < 10; ++round) {
    for (const auto& step : steps<decltype(kind.tape)>()) {
      SCOPED_TRACE(step.name);
      step.act(kind.tape);
      reader.look();
      EXPECT_EQ(reader.wrong(), "");
    }
  }
  after_store = nullptr;
  EXPECT_GT(looks, 10 * 5 * 3U);
}

// The writer runs before the n-th load of the reader, for each n.
template <class AnyTape>
void look_interrupted_by(AnyTape& tape, const Step<AnyTape>& step, std::size_t n, bool& reached) {
  (void)tape.take(1000);
  Watcher reader(tape);
  reader.look();
  std::size_t loads = 0;
  before_load = [&] {
    if (++loads == n) step.act(tape);
  };
  reader.look();
  before_load = nullptr;
  reader.look();
  EXPECT_EQ(reader.wrong(), "");
  reached = loads >= n;
}

TYPED_TEST(TapeInterleaving, AWriterBetweenAnyTwoLoadsOfAReader) {
  for (const auto& step : steps<decltype(TypeParam::tape)>()) {
    SCOPED_TRACE(step.name);
    bool reached = true;
    for (std::size_t n = 1; reached; ++n) {
      SCOPED_TRACE(n);
      TypeParam kind;
      look_interrupted_by(kind.tape, step, n, reached);
      ASSERT_LT(n, 100U);
      EXPECT_TRUE(reached || n > 6) << "a look takes at least six loads";
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
