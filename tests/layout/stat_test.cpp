// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/stat.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "memory/ledger_spill.hpp"
#include "os/huge_page_pool.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/layout/stat_fields.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::tests {
namespace {

static_assert(std::is_trivially_copyable_v<Stat> && std::is_standard_layout_v<Stat>);
static_assert(offsetof(Stat, size) == 0 && offsetof(Stat, version) == 4);

TEST(Stat, BeginsWithItsSizeAndVersion) {
  const Stat stat;
  EXPECT_EQ(stat.size, sizeof(Stat));
  EXPECT_EQ(stat.version, 5U);
}

TEST(Stat, TheLineIsUsedAndReservedInWholeMebibytes) {
  Stat stat;
  EXPECT_EQ(stat.line(), "weights: 0/0 MB | scratch: 0/0 MB | history: 0/0 MB");
  stat.weights = {.reserved = ~std::uint64_t{0}, .used = 12_MiB};
  stat.scratch = {.reserved = 64_MiB, .used = 2_MiB - 1};  // parts of a unit are not counted
  stat.history = {.reserved = 512_MiB, .used = 3_MiB + 1};
  EXPECT_EQ(stat.line(), "weights: 12/17592186044415 MB | scratch: 1/64 MB | history: 3/512 MB");
  const DeviceStat device = {
      .weights = stat.weights, .scratch = stat.scratch, .history = stat.history};
  EXPECT_EQ(device.line(), stat.line());
  std::ostringstream out;
  out << stat << device;
  EXPECT_EQ(out.str(), stat.line() + device.line());
}

TEST(Stat, TheLineNeverRoundsASizeToZero) {
  Stat stat;
  stat.weights = {.reserved = 788_KiB, .used = 788_KiB};
  stat.scratch = {.reserved = 28_KiB, .used = 27'136};
  stat.history = {.reserved = 512_MiB, .used = 1};
  EXPECT_EQ(stat.line(), "weights: 788/788 KiB | scratch: 26.5/28 KiB | history: 1 B/512 MiB");
  stat.weights = {.reserved = 1_MiB, .used = 1_MiB - 1};
  stat.scratch = {.reserved = 1_MiB - 1, .used = 0};
  stat.history = {.reserved = 1_MiB, .used = 1_MiB};
  EXPECT_EQ(stat.line(), "weights: 1/1 MiB | scratch: 0/1 MiB | history: 1/1 MB");
}

TEST(Stat, TheLineOfALayout) {
  Layout layout({.weights = 4_MiB, .scratch = 2_MiB, .history = 3_MiB}, {.talks = 3});
  (void)layout.weights().take(3_MiB + 100);
  (void)layout.scratch().take(1_MiB);
  (void)layout.history(0).take(1_MiB / 2);
  (void)layout.history(2).take(1_MiB / 2);  // halves for two talks, whose sum is whole
  EXPECT_EQ(layout.stat().line(), "weights: 3/4 MB | scratch: 1/2 MB | history: 1/9 MB");
}

TEST(Stat, FiguresOfATapeAreTheTapes) {
  LedgerSpill source;
  Layout layout({.weights = 4_MiB, .scratch = 64_KiB, .history = 1_MiB},
                {.scratch = {.name = "scratch", .commit_step = 4_KiB, .spill = &source}});
  (void)layout.weights().take(1000);
  layout.weights().raise_floor();
  (void)layout.scratch().take(10'000);
  (void)layout.scratch().take(100'000);
  EXPECT_EQ(layout.history().try_take(2_MiB), nullptr);
  const Stat stat = layout.stat();
  EXPECT_EQ(stat.weights.used, 1024U);
  EXPECT_EQ(stat.weights.planned, 1024U);
  EXPECT_EQ(stat.weights.committed, 4_MiB);
  EXPECT_EQ(stat.scratch.used, layout.scratch().used());
  EXPECT_EQ(stat.scratch.peak, layout.scratch().peak());
  EXPECT_EQ(stat.scratch.committed, layout.scratch().committed());
  EXPECT_EQ(stat.scratch.grows, 1U);
  EXPECT_EQ(stat.scratch.spills, 1U);
  EXPECT_EQ(stat.scratch.spilled, 100'000U);
  EXPECT_EQ(stat.history.refused, 1U);
  EXPECT_EQ(stat.talks, 1U);
}

TEST(Stat, CountsPassesAndConversations) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB}, {.talks = 2});
  for (int token = 0; token < 5; ++token) layout.clear_pass();
  layout.clear_talk(0);
  layout.clear_talk(1);
  const Stat stat = layout.stat();
  EXPECT_EQ(stat.passes, 5U);
  EXPECT_EQ(stat.conversations, 2U);
  EXPECT_EQ(stat.scratch.clears, 7U);
  EXPECT_EQ(stat.history.clears, 2U);
  EXPECT_EQ(stat.weights.clears, 0U);
}

TEST(Stat, HistoriesAreSummed) {
  LedgerSpill source;
  const TapeOptions history = {.name = "history", .commit_step = 64_KiB, .spill = &source};
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB},
                {.talks = 3, .history = history});
  std::vector<TapeStat> each;
  for (std::size_t talk = 0; talk < 3; ++talk) {
    Tape& tape = layout.history(talk);
    (void)tape.take(1000);
    if (talk != 1) tape.raise_floor();
    (void)tape.take(100'000 * (talk + 1));
    (void)tape.take(2_MiB);
    if (talk == 1) tape.clear();
    each.push_back(tape.stat());
  }
  const TapeStat all = layout.stat().history;
  for (const StatField<TapeStat>& field : tape_fields()) {
    if (field.member == nullptr || field.member == &TapeStat::page_size) continue;
    std::uint64_t sum = 0;
    for (const TapeStat& one : each) sum += field.of(one);
    EXPECT_EQ(field.of(all), sum) << field.name;
  }
  EXPECT_EQ(all.clears, 1U);
  EXPECT_EQ(all.page_size, layout.history().block().page_size());
}

/// The text without the figures of the layout as a whole.
std::string text_of_tapes(const Stat& stat) {
  Stat none = stat;
  none.weights = none.scratch = none.history = {};
  const std::string layout = none.text();
  EXPECT_TRUE(layout.starts_with("layout: talks 0,")) << layout;
  EXPECT_TRUE(stat.text().starts_with(layout)) << stat.text();
  return stat.text().substr(layout.size());
}

TEST(Stat, TheTextIsInIecUnitsAndLeavesOutTapesThatHoldNothing) {
  Stat stat;
  stat.weights = {.reserved = 4_GiB, .used = 1536_MiB};
  EXPECT_EQ(text_of_tapes(stat),
            "weights: used 1.5 GiB, reserved 4 GiB, headroom 2.5 GiB, peak 0 B,\n"
            "  committed 0 B, planned 0 B, spilled 0 B, spilled peak 0 B, spills 0,\n"
            "  refused 0, grows 0, clears 0, unmet wishes 0\n");
  for (std::uint64_t TapeStat::*what :
       {&TapeStat::reserved, &TapeStat::spills, &TapeStat::refused}) {
    Stat asked;
    asked.history.*what = 1;
    EXPECT_TRUE(text_of_tapes(asked).starts_with("history: ")) << asked.text();
  }
}

TEST(Stat, TheTextShowsWishesThatWereNotMet) {
  for (std::size_t i = 0; i < kWishes; ++i) {
    Stat stat;
    stat.history.unmet[i] = ENOMEM;
    const std::string line = std::string("\n  requested but not granted: ") +
                             to_string(static_cast<Wish>(i)) + " (ENOMEM)\n";
    EXPECT_TRUE(stat.text().ends_with(line)) << stat.text();
  }
}

TEST(Stat, ALayoutTellsWhatItDidNotGet) {
  const HugePagePool pool(0);  // so that other tests do not fill it meanwhile
  if (pool_page() == 0) GTEST_SKIP() << "this kernel has no huge pages";
  Layout layout(
      {.weights = 4_MiB, .scratch = 1_MiB, .history = (pool_free() + 2) * pool_page()},
      {.talks = 2,
       .history = {.name = "history", .block = {.huge_pages = HugePages::explicit_pages}}});
  const Stat stat = layout.stat();
  EXPECT_EQ(stat.history.unmet[static_cast<std::size_t>(Wish::huge_pages)], ENOMEM);
  EXPECT_EQ(stat.history.unmet, layout.history(1).stat().unmet);
}

}  // namespace
}  // namespace tapedeck::tests
