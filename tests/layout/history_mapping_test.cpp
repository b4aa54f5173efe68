// SPDX-License-Identifier: Apache-2.0
// The histories of all talks of the host are in one mapping, where growth makes no system call.
#include "layout/history_mapping.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "layout/cache_region.hpp"
#include "os/faults.hpp"
#include "os/huge_pages.hpp"
#include "os/pages.hpp"
#include "os/resident_ledger.hpp"
#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using Ledger = os::ResidentLedger;

#if defined(TAPEDECK_ASAN)
constexpr bool kAlwaysInParts = true;
#else
constexpr bool kAlwaysInParts = false;
#endif

constexpr std::uint64_t kRow = 1024;
constexpr std::uint64_t kContext = 4096;  // 4 MiB for K, and for V

Layout layout_of(Plan plan, LayoutOptions options = {}) {
  options.commit = Commit::with_talks;
  return Layout(std::move(plan), std::move(options));
}

int unmet_growth(const Layout& layout) {
  return layout.stat().history.unmet[static_cast<std::size_t>(Wish::growth)];
}

std::byte* row_at(Layout& layout, std::size_t region, std::uint64_t token, std::size_t talk = 0) {
  const Region& one = layout.plan().history.regions()[region];
  return layout.history_at(one, talk).data() + token * one.growth.bytes_per_token;
}

std::size_t present(Layout& layout, std::size_t region) {
  const auto all = layout.history_at(layout.plan().history.regions()[region]);
  return os::page_states(all.data(), all.size()).present.value_or(0);
}

class InOneMapping : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kAlwaysInParts) GTEST_SKIP() << "with AddressSanitizer, pages are committed by parts";
    if (text_of("/proc/sys/vm/overcommit_memory").starts_with("2")) {
      GTEST_SKIP() << "this host does not overcommit memory (vm.overcommit_memory = 2)";
    }
  }
};

// Regression: a layout of 64 layers ended at its 255th talk, because each region of each talk took
// two mappings of the process.
TEST_F(InOneMapping, ThousandsOfTalksHaveTheirRows) {
  constexpr std::uint64_t kTalks = 4096;
  constexpr std::uint64_t kRegions = 128;
  Plan plan;
  plan.talks = kTalks;
  for (std::uint64_t i = 0; i < kRegions; ++i) {
    plan.history.append(cache_region("k" + std::to_string(i), RegionRole::kv, 256, 256));
  }
  const auto mappings = [] {
    const std::string maps = text_of("/proc/self/maps");
    return std::count(maps.begin(), maps.end(), '\n');
  };
  const auto before = mappings();
  LayoutOptions options = {.growth_step = 16};
  options.history.block.overcommit = true;  // 2 GiB, of which nearly all stay untouched
  Layout layout = layout_of(std::move(plan), options);
  for (std::size_t talk = 0; talk < kTalks; ++talk) layout.talk(talk).prepare(16);
  EXPECT_LE(mappings() - before, 300);
  for (std::size_t talk = 0; talk < kTalks; talk += 512) {
    *row_at(layout, kRegions - 1, 15, talk) = static_cast<std::byte>(talk / 512 + 1);
  }
  for (std::size_t talk = 0; talk < kTalks; talk += 512) {
    EXPECT_EQ(*row_at(layout, kRegions - 1, 15, talk), static_cast<std::byte>(talk / 512 + 1));
    EXPECT_EQ(*row_at(layout, 0, 0, talk), std::byte{0});
  }
}

TEST_F(InOneMapping, GrowthIsAClaimWithoutASystemCall) {
  const std::size_t before = Ledger::claimed();
  {
    LayoutOptions options = {.growth_step = 1};
    options.history.block.huge_pages = HugePages::never;
    Layout layout = layout_of(keys_and_values(2, kContext, kRow), options);
    Talk talk = layout.talk(1);
    const os::InjectFault count(0, 0);
    talk.prepare(5);
    EXPECT_EQ(Ledger::claimed(), before + 2 * 8_KiB);
    talk.prepare(1000);
    EXPECT_EQ(Ledger::claimed(), before + 2000 * kRow);
    EXPECT_EQ(os::InjectFault::calls(), 0U);
    EXPECT_EQ(layout.history(1).committed(), 2000 * kRow);
    EXPECT_EQ(layout.history(0).committed(), 0U);
    (void)talk.advance(3);
    EXPECT_EQ(talk.decommit(), 2 * (1000 * kRow - 4_KiB));
    EXPECT_EQ(Ledger::claimed(), before + 2 * 4_KiB);
  }
  EXPECT_EQ(Ledger::claimed(), before);
}

TEST_F(InOneMapping, TheLedgerKnowsWhichRowsAreClaimedAndThere) {
  const std::size_t before = Ledger::claimed();
  Layout layout = layout_of(keys_and_values(1, kContext, kRow), {.growth_step = 1});
  layout.talk(0).prepare(64);
  std::byte* const values = row_at(layout, 1, 0);
  EXPECT_TRUE(Ledger::covers({values, 64 * kRow}));
  EXPECT_FALSE(Ledger::covers({values, 64 * kRow + 1}));
  const WarmResult warm = layout.talk(0).warm();
  EXPECT_EQ(warm.asked, 128 * kRow);
  EXPECT_EQ(warm.warmed, 128 * kRow);
  if (warm.present) {
    EXPECT_EQ(*warm.present, 128 * kRow);
    EXPECT_EQ(Ledger::claimed(), before);
  }
}

TEST_F(InOneMapping, PagesThatAreGivenBackAreGoneAndComeBackAsZeros) {
  Layout layout = layout_of(keys_and_values(1, kContext, kRow), {.growth_step = 1});
  Talk talk = layout.talk(0);
  talk.prepare(kContext);
  (void)talk.advance(kContext);
  for (std::size_t token = 0; token < kContext; ++token) {
    *row_at(layout, 0, token) = *row_at(layout, 1, token) = std::byte{7};
  }
  talk.rewind(kContext - 6);
  EXPECT_EQ(talk.decommit(), 2 * (kContext * kRow - 8_KiB));
  EXPECT_EQ(present(layout, 0), 8_KiB);
  EXPECT_EQ(present(layout, 1), 8_KiB);
  talk.prepare(100);
  EXPECT_EQ(*row_at(layout, 1, 5), std::byte{7});
  EXPECT_EQ(*row_at(layout, 1, 50), std::byte{0});
}

TEST_F(InOneMapping, PagesThatTheKernelKeepsStayTheTalks) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's mlock does nothing";
  Layout layout = layout_of(keys_and_values(1, kContext, kRow), {.growth_step = 1});
  Talk talk = layout.talk(0);
  talk.prepare(100);
  std::byte* const locked = row_at(layout, 0, 40);
  if (::mlock(locked, kPage) != 0) GTEST_SKIP() << "this process may lock no memory";
  EXPECT_EQ(talk.decommit(), 0U);
  EXPECT_EQ(layout.history().committed(), 200 * kRow);
  talk.prepare(100);
  EXPECT_EQ(talk.advance(100), 0U);
  *row_at(layout, 1, 99) = std::byte{1};
  EXPECT_EQ(::munlock(locked, kPage), 0);
  talk.rewind(100);
  EXPECT_EQ(talk.decommit(), 200 * kRow);
}

// One huge page could cover rows that are not claimed.
TEST_F(InOneMapping, HugePagesAreUsedWhereARegionHasClaimedAllOfOne) {
  const std::size_t huge = os::transparent_page_size();
  if (huge == 0) GTEST_SKIP() << "this kernel has no transparent huge pages";
  const std::uint64_t context = 4 * huge / kRow;
  Layout layout = layout_of(keys_and_values(1, context, kRow), {.growth_step = 1});
  const std::byte* const at = row_at(layout, 0, 0);
  const auto advised = [&] { return any_has_flag(at, 4 * huge, "hg"); };
  Talk talk = layout.talk(0);
  talk.prepare((huge - kPage) / kRow);
  EXPECT_FALSE(advised());
  talk.prepare(2 * huge / kRow);
  EXPECT_TRUE(advised());
  std::size_t bytes = 0;
  for (const Mapping& one : mappings_in(at, 4 * huge)) {
    if (!one.flags.contains("hg")) continue;
    bytes += one.end - one.begin;
    EXPECT_LE(one.end, reinterpret_cast<std::uintptr_t>(at) + 2 * huge);
  }
  EXPECT_GE(bytes, huge);
  EXPECT_EQ(bytes % huge, 0U);
  const bool warm = talk.warm().end == WarmEnd::complete;
  const int unmet = layout.stat().history.unmet[static_cast<std::size_t>(Wish::huge_pages)];
  if (warm && unmet == 0) {
    const auto keys = layout.history_at(layout.plan().history.regions()[0]);
    EXPECT_EQ(os::huge_bytes(keys.data(), keys.size()).value_or(bytes), bytes);
  }
  EXPECT_NE(talk.decommit(), 0U);
  EXPECT_FALSE(advised());
}

// --- pages that are committed by parts ----------------------------------------------------------

struct InParts {
  std::string name;
  std::function<void(LayoutOptions&)> ask;
  int unmet = 0;
};

void PrintTo(const InParts& one, std::ostream* out) { *out << one.name; }

class HistoriesInParts : public ::testing::TestWithParam<InParts> {};

TEST_P(HistoriesInParts, KeepUnpreparedRowsInaccessible) {
  LayoutOptions options = {.growth_step = 1};
  options.history.block.huge_pages = HugePages::never;
  GetParam().ask(options);
  Layout layout = layout_of(keys_and_values(2, kContext, kRow), options);
  layout.talk(1).prepare(5);
  EXPECT_EQ(access_of(row_at(layout, 1, 0, 1)), "rw-p");
  EXPECT_EQ(access_of(row_at(layout, 1, 8, 1)), "---p");
  EXPECT_EQ(unmet_growth(layout), kAlwaysInParts ? 0 : GetParam().unmet);
}

INSTANTIATE_TEST_SUITE_P(
    With, HistoriesInParts,
    ::testing::Values(
        InParts{"Guard", [](LayoutOptions& options) { options.guard_unprepared = true; }},
        InParts{"GuardPages",
                [](LayoutOptions& options) { options.history.block.guard_pages = true; }},
        InParts{"Lock", [](LayoutOptions& options) { options.history.block.lock = true; },
                EOPNOTSUPP},
        InParts{"Hook",
                [](LayoutOptions& options) {
                  options.history.block.on_commit = [](std::span<std::byte>) {};
                }},
        InParts{"RoomAbove", [](LayoutOptions& options) { options.extra.history = 4_KiB; }}),
    ::testing::PrintToStringParamName());

// Such as beyond RLIMIT_DATA, or without overcommitment (vm.overcommit_memory = 2).
TEST_F(InOneMapping, AMappingThatTheHostRefusesIsUnmet) {
  std::set<std::string> noticed;
  for (std::uint64_t k = 1;; ++k) {
    const os::InjectFault fault(k, ENOMEM);
    try {
      Layout layout(keys_and_values(1, kContext, kRow),
                    {.commit = Commit::nothing, .growth_step = 1});
      layout.talk(0).prepare(1);
      if (unmet_growth(layout) == ENOMEM) {
        noticed.insert(os::InjectFault::victim());
        EXPECT_EQ(access_of(row_at(layout, 1, 8)), "---p");
      }
    } catch (const Error&) {  // of a call that the histories cannot do without
    }
    if (!os::InjectFault::fired()) break;
  }
  EXPECT_EQ(noticed, (std::set<std::string>{"mmap", "mprotect"}));
}

// --- growth that makes pages resident -----------------------------------------------------------

class ResidentGrowth : public ::testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] static LayoutOptions options() {
    LayoutOptions options = {.commit = Commit::with_talks,
                             .growth_step = 64,
                             .resident_growth = true,
                             .guard_unprepared = GetParam()};
    options.history.block.huge_pages = HugePages::never;
    return options;
  }
};

TEST_P(ResidentGrowth, BringsInWhatIsPreparedAndNoMore) {
  const std::size_t before = Ledger::claimed();
  Layout layout(keys_and_values(2, kContext, kRow), options());
  layout.talk(0).prepare(1);
  EXPECT_EQ(present(layout, 0), 64 * kRow);
  layout.talk(0).prepare(65);
  EXPECT_EQ(present(layout, 0), 128 * kRow);
  EXPECT_EQ(present(layout, 1), 128 * kRow);
  if (!GetParam() && !kSanitized) {
    EXPECT_EQ(Ledger::claimed(), before);
  }
}

TEST_P(ResidentGrowth, ThatFailsLeavesTheTalkAsItWas) {
  Layout layout(keys_and_values(1, kContext, kRow), options());
  Talk talk = layout.talk(0);
  talk.prepare(64);
  (void)talk.advance(64);
  *row_at(layout, 1, 63) = std::byte{9};
  const std::size_t claimed = Ledger::claimed();
  std::size_t failures = 0;
  for (std::uint64_t k = 1;; ++k) {
    const os::InjectFault fault(k, ENOMEM);
    try {
      talk.prepare(1);
    } catch (const SystemError& error) {
      EXPECT_EQ(error.number(), ENOMEM);
      ++failures;
    }
    if (!os::InjectFault::fired()) break;
    if (talk.room() != 0) {  // another way has served
      EXPECT_NE(talk.decommit(), 0U);
      continue;
    }
    EXPECT_EQ(layout.history().committed(), 128 * kRow);
    EXPECT_EQ(Ledger::claimed(), claimed);
    EXPECT_EQ(present(layout, 1), 64 * kRow);
  }
  // Of one mapping, a range that the call for many refuses is brought in on its own.
  EXPECT_EQ(failures != 0, GetParam() || kAlwaysInParts);
  EXPECT_EQ(*row_at(layout, 1, 63), std::byte{9});
}

TEST_F(InOneMapping, PagesThatCannotBeBroughtInLeaveTheTalkAsItWas) {
  const std::size_t before = Ledger::claimed();
  Layout layout =
      layout_of(keys_and_values(1, kContext, kRow), {.growth_step = 1, .resident_growth = true});
  Talk talk = layout.talk(0);
  for (const std::uint64_t prepared : {0U, 8U}) {
    std::byte* const refused = row_at(layout, 1, 100);
    ASSERT_EQ(::mprotect(refused, kPage, PROT_NONE), 0);
    EXPECT_THROW(talk.prepare(200), SystemError);
    EXPECT_EQ(talk.room(), prepared);
    EXPECT_EQ(layout.history().committed(), 2 * prepared * kRow);
    EXPECT_EQ(present(layout, 0), prepared * kRow);
    EXPECT_EQ(Ledger::claimed(), before);
    ASSERT_EQ(::mprotect(refused, kPage, PROT_READ | PROT_WRITE), 0);
    talk.prepare(8);
  }
  talk.prepare(200);
  *row_at(layout, 1, 199) = std::byte{1};
}

TEST_P(ResidentGrowth, MayHappenOnAThreadInAdvance) {
  LayoutOptions ahead = options();
  ahead.ahead = 256;
  Layout layout(keys_and_values(2, kContext, kRow), ahead);
  layout.talk(1).prepare(1);
  while (layout.talk(1).room() < 256) std::this_thread::yield();
  const auto values = layout.history_at(layout.plan().history.regions()[1], 1);
  EXPECT_EQ(os::page_states(values.data(), values.size()).present.value_or(0), 256 * kRow);
  EXPECT_EQ(layout.talk(0).room(), 0U);
  const std::uint64_t first = layout.talk(1).advance(256);
  EXPECT_EQ(first, 0U);
}

INSTANTIATE_TEST_SUITE_P(With, ResidentGrowth, ::testing::Bool(),
                         [](const auto& with) { return with.param ? "Parts" : "OneMapping"; });

}  // namespace
}  // namespace tapedeck::tests
