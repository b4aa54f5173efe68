// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape_full.hpp"
#include "memory/heap_allocations.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {
namespace {

static_assert(std::is_base_of_v<std::bad_alloc, TapeFull>);
static_assert(std::is_base_of_v<Error, TapeFull>);
static_assert(!std::is_base_of_v<std::runtime_error, TapeFull>);
static_assert(std::is_nothrow_copy_constructible_v<TapeFull>);
static_assert(std::is_nothrow_constructible_v<TapeFull, std::string_view, std::size_t, std::size_t,
                                              std::size_t>);

TEST(TapeFull, SaysHowMuchThereIsAndWhatHelps) {
  const std::string larger = "; reserve a larger tape, or clear it earlier";
  const std::string extra =
      "; its planned bytes are not for takes: reserve more above them, in a layout with "
      "LayoutOptions::extra";
  struct Row {
    TapeFull full;
    std::string what;
  };
  for (const auto& [full, what] :
       {Row{{"t", 1_MiB, 512_KiB, 1_MiB},
            "tape t is full: requested 1 MiB, used 512 KiB of 1 MiB" + larger},
        Row{{"t", 100, 1000, 1024},
            "tape t is full: requested 100 B, used 1000 B of 1 KiB" + larger},
        // In IEC units, there would seem to be enough room.
        Row{{"t", 64_MiB + 1, 0, 64_MiB},
            "tape t is full: requested 67108865 B, used 0 B of 67108864 B" + larger},
        Row{{"t", 4_KiB, 1536_MiB, 1536_MiB, 1536_MiB},
            "tape t is full: requested 4 KiB, used 1.5 GiB of 1.5 GiB" + extra},
        Row{{"t", 1_KiB, 0, 1_GiB},
            "tape t has no committed room for 1 KiB, used 0 B of 1 GiB; call prepare earlier, "
            "which commits memory for takes or reports why it cannot"},
        Row{{"none", 4_KiB, 0, 0},
            "a tape without memory was asked for 4 KiB: it was moved from, or its plan is empty; "
            "reserve memory for it, in a layout with LayoutOptions::extra"}}) {
    EXPECT_EQ(full.what(), what);
    EXPECT_EQ(std::string(full.message()) + "; " + std::string(full.advice()), what);
  }
}

TEST(TapeFull, CarriesTheFactsAsFieldsAndAsText) {
  const std::string of_31 = "abcdefghijklmnopqrstuvwxyz12345";
  struct Case {
    std::string_view given;
    std::string name;
    std::size_t figure;
  };
  const std::string longer = of_31 + "6";
  const std::string much_longer = of_31 + std::string(1000, 'y');
  for (const auto& [given, name, figure] : {
           Case{"scratch", "scratch", 4096},
           Case{of_31, of_31, kMost},  // the longest text
           Case{longer, of_31, 1},
           Case{much_longer, of_31, 1},
           Case{std::string_view("history of talk 3").substr(0, 7), "history", 1},  // no NUL
           Case{"", "", 1},
           Case{{}, "", 1},
           Case{"100 %s%n", "100 %s%n", 1},
       }) {
    const TapeFull full(given, figure, figure - 1, figure);
    EXPECT_EQ(full.name(), name);
    EXPECT_EQ(full.requested(), figure);
    EXPECT_EQ(full.used(), figure - 1);
    EXPECT_EQ(full.total(), figure);
    EXPECT_TRUE(full.message().starts_with("tape " + name + " ")) << full.what();
    EXPECT_TRUE(std::string_view(full.what()).ends_with(full.advice())) << full.what();
    EXPECT_NE(full.advice(), "");
  }
}

TEST(TapeFull, IsCaughtAsBadAllocAndAsError) {
  const TapeFull full("scratch", 1, 2, 3);
  EXPECT_THROW(throw TapeFull(full), std::bad_alloc);
  EXPECT_THROW(throw TapeFull(full), Error);
  EXPECT_EQ(full.kind(), ErrorKind::out_of_memory);
  EXPECT_EQ(full.facts().size(), 4U);
}

TEST(TapeFull, MakingAndCopyingItAllocatesNothing) {
  const std::string name(1000, 'x');
  const std::uint64_t before = tapedeck_heap_allocations();
  const TapeFull full(name, kMost, kMost / 1000, kMost, 1);
  const TapeFull copy = full;  // NOLINT(performance-unnecessary-copy-initialization)
  const std::uint64_t after = tapedeck_heap_allocations();
  EXPECT_EQ(after, before);
  EXPECT_STREQ(copy.what(), full.what());
}

// Without the hook, the count of the test above would be 0 too.
TEST(TapeFull, TheHeapHookCounts) {
  const std::uint64_t before = tapedeck_heap_allocations();
  ::operator delete(::operator new(1000));
  EXPECT_GT(tapedeck_heap_allocations(), before);
}

TEST(TapeFull, TheTapesNameIsTheOneItWasGiven) {
  Tape tape = Tape::start(4096, {.name = "history of a talk with a long, long name"});
  EXPECT_EQ(tape.name(), "history of a talk with a long, long name");
  const auto full = thrown<TapeFull>([&] { return tape.take(5000); });
  EXPECT_STREQ(full.name(), "history of a talk with a long, ");
  EXPECT_EQ(full.total(), 4096U);
}

TEST(TapeFull, AdvisesToReserveMoreAboveTheFloor) {
  Tape tape = Tape::start(4096);
  const auto advice = [&](const auto& call) {
    return std::string(thrown<TapeFull>(call).advice());
  };
  const std::string without_floor = advice([&] { (void)tape.take(5000); });
  (void)tape.take(4096);
  tape.raise_floor();
  const std::string above = advice([&] { (void)tape.take(1); });
  EXPECT_EQ(above, advice([&] { tape.prepare(1); }));
  const std::string without_memory = advice([] { (void)Tape().take(1); });
  EXPECT_EQ((std::set{without_floor, above, without_memory}).size(), 3U);
}

}  // namespace
}  // namespace tapedeck::tests
