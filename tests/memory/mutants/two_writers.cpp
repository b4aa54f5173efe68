// SPDX-License-Identifier: Apache-2.0
// Two threads use one tape. The argument names what the second one does. Nothing orders the two
// threads, so if it writes, ThreadSanitizer and the owner check must report it. "reads" and names
// that begin with "handed_over" are allowed.

#include <atomic>
#include <cstdio>
#include <string_view>
#include <thread>
#include <utility>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace {

using namespace tapedeck;

// The second thread continues after the first has written, without a happens-before.
template <class AnyTape, class Act>
void one_after_the_other(AnyTape& tape, const Act& act) {
  std::atomic<bool> written = false;
  std::jthread second([&] {
    while (!written.load(std::memory_order_relaxed)) std::this_thread::yield();
    act(tape);
  });
  (void)tape.take(100);
  written.store(true, std::memory_order_relaxed);
}

void read_all(const Tape& tape) {
  const TapeStat stat = tape.stat();
  const bool as_ever = stat.used + tape.free() + tape.floor() + tape.recent_peak() >= 1_MiB &&
                       tape.committed() <= tape.total() && tape.name() == "contested";
  if (!as_ever) std::puts("the figures are wrong");
}

void hand_over_by_join(Tape& tape) {
  (void)tape.take(100);
  for (int i = 0; i < 3; ++i) {
    tape.hand_over();
    std::jthread([&tape] {
      (void)tape.take(100);
      tape.clear();
      tape.hand_over();
    }).join();
    (void)tape.take(100);
  }
}

void hand_over_by_split(Tape& tape) {
  for (int pass = 0; pass < 2; ++pass) {
    if (pass == 0) (void)tape.split(2);
    {
      std::jthread first([&] { (void)tape.children()[0].take(100); });
      std::jthread second([&] { (void)tape.children()[1].take(100); });
    }
    tape.clear();
  }
}

void hand_over_by_move(Tape& tape) {
  (void)tape.take(100);
  std::jthread([moved = std::move(tape)]() mutable { (void)moved.take(100); }).join();
}

// Several writers of a shared tape are allowed, but not a clear at the same time.
void clear_shared(Tape& /*tape*/) {
  SharedTape tape = SharedTape::start(1_MiB);
  one_after_the_other(tape, [](SharedTape& one) { one.clear(); });
}
void take_shared(Tape& /*tape*/) {
  SharedTape tape = SharedTape::start(1_MiB);
  one_after_the_other(tape, [](SharedTape& one) { (void)one.take(100); });
}

constexpr std::pair<std::string_view, void (*)(Tape&)> kSecondDoes[] = {
    {"reads", [](Tape& tape) { read_all(tape); }},
    {"takes", [](Tape& tape) { (void)tape.take(100); }},
    {"takes_nothing", [](Tape& tape) { (void)tape.take(0); }},
    {"takes_packed", [](Tape& tape) { (void)tape.take(8, 8); }},
    {"takes_wide", [](Tape& tape) { (void)tape.take(8, 4096); }},
    {"clears", [](Tape& tape) { tape.clear(); }},
    {"marks", [](Tape& tape) { (void)tape.mark(); }},
    {"raises_the_floor", [](Tape& tape) { tape.raise_floor(); }},
    {"restarts_the_peak", [](Tape& tape) { tape.restart_peak(); }},
    {"prepares", [](Tape& tape) { tape.prepare(100); }},
    {"decommits", [](Tape& tape) { tape.decommit(); }},
};

constexpr std::pair<std::string_view, void (*)(Tape&)> kWhole[] = {
    {"handed_over_by_join", hand_over_by_join},
    {"handed_over_by_split", hand_over_by_split},
    {"handed_over_by_move", hand_over_by_move},
    {"takes_shared", take_shared},
    {"clears_shared", clear_shared},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Tape tape = Tape::start(1_MiB, {.name = "contested"});
  const Tape::Mark mark = tape.mark();
  tape.hand_over();
  for (const auto& [name, act] : kSecondDoes) {
    if (argv[1] == name) return one_after_the_other(tape, act), 0;
  }
  for (const auto& [name, run] : kWhole) {
    if (argv[1] == name) return run(tape), 0;
  }
  if (argv[1] == std::string_view("rewinds")) {
    return one_after_the_other(tape, [&](Tape& one) { one.rewind(mark); }), 0;
  }
  return 2;
}
