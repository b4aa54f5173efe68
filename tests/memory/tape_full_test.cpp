// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape_full.hpp"
#include "memory/heap_allocations.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/most.hpp"
#include "base/thrown.hpp"
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
    const std::string text = std::to_string(figure);
    std::string what = "tape " + name;
    what += " is full: requested " + text + " bytes, used ";
    what += std::to_string(figure - 1) + " of " + text;
    EXPECT_EQ(full.what(), what);
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
  const TapeFull full(name, 1, 2, 3);
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

}  // namespace
}  // namespace tapedeck::tests
