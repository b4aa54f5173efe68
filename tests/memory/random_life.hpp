// SPDX-License-Identifier: Apache-2.0
/// @file
/// The random life of a tape: random operations, each checked against the oracle. The seed decides
/// everything.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "memory/ledger_spill.hpp"
#include "memory/tape_oracle.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_scope.hpp"

namespace tapedeck::tests {

enum class Act : std::uint8_t {
  wide,
  aligned,
  packed,
  zero,
  oversize,
  mark,
  rewind,
  open_scope,
  close_scope,
  clear,
  raise_floor,
  prepare,
  decommit,
  warm,
  switch_spill,
  restart_peak,
};
struct ActKind {
  const char* name;
  unsigned weight;  ///< Out of 1000. Small for the floor, which only ever rises, and for warm,
                    ///< which reads files in /proc.
};
inline constexpr ActKind kActKinds[] = {
    {"wide", 215},       {"aligned", 80}, {"packed", 230},      {"zero", 30},
    {"oversize", 30},    {"mark", 70},    {"rewind", 60},       {"open_scope", 50},
    {"close_scope", 50}, {"clear", 30},   {"raise_floor", 22},  {"prepare", 30},
    {"decommit", 35},    {"warm", 18},    {"switch_spill", 35}, {"restart_peak", 15},
};
inline constexpr std::size_t kActs = std::size(kActKinds);

// Clang 14 does not evaluate a consteval literal inside a template.
inline constexpr std::size_t kKiB = 1_KiB;

/// How often each thing happened.
struct Tally {
  std::array<std::uint64_t, kActs> acts{};
  std::uint64_t full = 0;
  std::uint64_t grows = 0;
  std::uint64_t spills = 0;
  std::uint64_t rewinds_over_growth = 0;
  std::uint64_t rewinds_over_spill = 0;
};

/// `AnyTape` is `Tape`, or a mutant of it.
template <class AnyTape>
class RandomLife {
 public:
  explicit RandomLife(std::uint64_t seed, Tally& tally) : random_(seed), tally_(tally) {}

  /// @throws Disagreement
  void play(std::size_t steps) {
    for (; step_ < steps; ++step_) {
      const Act act = pick();
      ++tally_.acts[static_cast<std::size_t>(act)];
      log_.emplace_back(kActKinds[static_cast<std::size_t>(act)].name);
      perform(act);
      oracle_.agrees_with(tape_);
      if (step_ % 32 == 0) oracle_.verify();
    }
    oracle_.verify();
    // Scopes close in the reverse order of opening, as in C++.
    while (!scopes_.empty()) close_scope();
    oracle_.agrees_with(tape_);
  }

  [[nodiscard]] std::size_t step() const { return step_; }
  [[nodiscard]] const std::vector<std::string>& log() const { return log_; }

 private:
  struct Scope {
    std::unique_ptr<TapeScope> scope;
    TapeOracle::Mark mark;
  };

  [[nodiscard]] std::size_t below(std::size_t n) { return random_() % n; }
  [[nodiscard]] bool one_in(std::size_t n) { return below(n) == 0; }
  void note(const std::string& what) { log_.back() += " " + what; }

  [[nodiscard]] Block make_block() {
    const std::size_t bytes = (8 + 2 * below(40)) * kKiB;
    switch (below(4)) {
      case 0:
        memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes + 64);
        return Block::borrow({memory_.get() + below(64), bytes});
      case 1:
        return Block::create_shared(bytes);
      default:
        return Block::reserve(bytes);
    }
  }

  [[nodiscard]] TapeOptions make_options() {
    const std::size_t step = std::array<std::size_t, 4>{0, 1, 4 * kKiB, 10 * kKiB}[below(4)];
    return {.name = "random",
            .commit_step = step,
            .wipe_on_clear = one_in(4),
            .spill = spills_ ? &source_ : nullptr};
  }

  [[nodiscard]] Act pick() {
    std::size_t at = below(1000);
    std::size_t act = 0;
    while (at >= kActKinds[act].weight) at -= kActKinds[act++].weight;
    return possible(static_cast<Act>(act));
  }

  // Does something else if the operation is not possible now.
  [[nodiscard]] Act possible(Act act) const {
    if (act == Act::rewind && marks_.empty()) return Act::mark;
    if (act == Act::close_scope && scopes_.empty()) return Act::open_scope;
    // A floor near the end would leave no room for the rest of the life.
    if (act == Act::raise_floor && tape_.used() > tape_.total() / 2) return Act::clear;
    return act;
  }

  void perform(Act act) {
    switch (act) {
      case Act::wide:
        return take(one_in(8) ? below(16 * kKiB) + 1 : below(2000) + 1, kLine);
      case Act::aligned:
        return take(below(1500) + 1, std::size_t{128} << below(7));
      case Act::packed:
        return take(one_in(8) ? below(500) + 1 : below(40) + 1, std::size_t{1} << below(6));
      case Act::zero:
        return take(0, std::size_t{1} << below(20));
      case Act::oversize:
        return take(oversize(), std::size_t{1} << below(13));
      case Act::mark:
        return marks_.push_back({tape_.mark(), oracle_.mark()});
      case Act::rewind:
        return rewind(below(marks_.size()));
      case Act::open_scope:
        return scopes_.push_back({std::make_unique<TapeScope>(tape_), oracle_.mark()});
      case Act::close_scope:
        return close_scope();
      case Act::clear:
        oracle_.clear();
        return tape_.clear();
      case Act::raise_floor:
        oracle_.raise_floor();
        return tape_.raise_floor();
      case Act::prepare:
        return prepare(below(20 * kKiB));
      case Act::decommit:
        return decommit();
      case Act::warm:
        return require(static_cast<bool>(tape_.warm()), "warming did not complete");
      case Act::switch_spill:
        source_.open = !source_.open;
        return;
      case Act::restart_peak:
        oracle_.restart_peak();
        return tape_.restart_peak();
    }
  }

  [[nodiscard]] std::size_t oversize() {
    return one_in(2) ? tape_.total() + 1 + below(10'000) : kMost - below(200);
  }

  [[nodiscard]] void* take_somehow(std::size_t bytes, std::size_t align) {
    if (one_in(2)) return tape_.try_take(bytes, align);
    try {
      return tape_.take(bytes, align);
    } catch (const TapeFull& full) {
      require_equal(full.requested(), bytes, "TapeFull::requested()");
      require_equal(full.used(), tape_.used(), "TapeFull::used()");
      require_equal(full.total(), tape_.total(), "TapeFull::total()");
      return nullptr;
    }
  }

  void take(std::size_t bytes, std::size_t align) {
    note(std::to_string(bytes) + " at " + std::to_string(align));
    const std::size_t committed = tape_.committed();
    const std::uint64_t given = source_.given();
    void* at = take_somehow(bytes, align);
    const bool spilled = source_.given() != given;
    if (at == nullptr) {
      require(bytes != 0, "zero bytes were refused");
      oracle_.refused(bytes, align, spills_ && source_.open && bytes < 1024 * kKiB);
      ++tally_.full;
      return note("refused");
    }
    require(!spilled || (spills_ && source_.holds(at)), "it is not in the block that was spilled");
    oracle_.took(at, bytes, align, spilled);
    require(bytes == 0 || tape_.owns(at), "what was taken is not owned");
    tally_.spills += spilled ? 1 : 0;
    if (tape_.committed() != committed) {
      require(!spilled && committed < tape_.used(), "it grew without need");
      oracle_.grew();
      ++tally_.grows;
    }
  }

  // The tape rewinds after the oracle, because the oracle still reads the bytes that are released.
  template <class Back>
  void go_back(const TapeOracle::Mark& mark, Back back) {
    const bool stale = oracle_.is_stale(mark);
    if (!stale && oracle_.grows() > mark.grows) ++tally_.rewinds_over_growth;
    if (oracle_.rewind(mark) > 0) ++tally_.rewinds_over_spill;
    back();
    if (stale) return note("stale");
    // Younger marks were rewound over. From now on they do nothing, or must not be used.
    std::erase_if(marks_, [&](const auto& one) {
      return one.second.clears == mark.clears && one.second.order > mark.order && one_in(2);
    });
    for (auto& one : marks_) one.second.rewound_over |= one.second.order > mark.order;
  }

  void rewind(std::size_t which) {
    const Tape::Mark mark = marks_[which].first;
    const TapeOracle::Mark must = marks_[which].second;
    // A mark that was rewound over and is below the head again cannot be detected. Not using it is
    // the user's responsibility.
    if (must.rewound_over && !oracle_.is_stale(must)) {
      marks_.erase(marks_.begin() + static_cast<std::ptrdiff_t>(which));
      return note("given up");
    }
    // Inner scopes end first, as in C++.
    while (!scopes_.empty() && scopes_.back().mark.order > must.order) close_scope();
    go_back(must, [&] { tape_.rewind(mark); });
  }

  void close_scope() {
    Scope last = std::move(scopes_.back());
    scopes_.pop_back();
    go_back(last.mark, [&] { last.scope.reset(); });
  }

  void prepare(std::size_t bytes) {
    const bool fits = bytes <= tape_.free();
    const std::size_t committed = tape_.committed();
    require(tape_.try_prepare(bytes) == fits, "prepare is wrong about the room");
    require(!fits || tape_.committed() >= tape_.used() + bytes, "prepare committed too little");
    require(fits || tape_.committed() == committed, "a prepare that failed committed something");
    if (tape_.committed() != committed) oracle_.grew();
  }

  void decommit() {
    const std::size_t before = tape_.committed();
    const std::size_t kept = round_up(tape_.used(), kPage);
    const std::size_t gone = tape_.decommit();
    if (memory_ != nullptr) return require_equal(gone, std::size_t{0}, "borrowed bytes given back");
    require_equal(tape_.committed(), std::min(before, kept), "committed after decommit");
    require_equal(gone, before - tape_.committed(), "bytes given back");
  }

  std::mt19937_64 random_;
  Tally& tally_;
  LedgerSpill source_;
  bool spills_ = !one_in(5);
  std::unique_ptr<std::byte[]> memory_;  // memory of a borrowed block
  AnyTape tape_{Tape::over(make_block(), make_options())};
  TapeOracle oracle_{reinterpret_cast<const std::byte*>(
                         round_up(reinterpret_cast<std::uintptr_t>(tape_.block().data()), kLine)),
                     tape_.total()};
  std::vector<std::pair<Tape::Mark, TapeOracle::Mark>> marks_;
  std::vector<Scope> scopes_;
  std::size_t step_ = 0;
  std::vector<std::string> log_;
};

}  // namespace tapedeck::tests
