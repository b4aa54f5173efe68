#include "tapedeck/memory/tape_full.hpp"
#include "memory/heap_allocations.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <exception>
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
  const TapeFull full("scratch", 4096, 1000, 1024);
  EXPECT_STREQ(full.name(), "scratch");
  EXPECT_EQ(full.requested(), 4096U);
  EXPECT_EQ(full.used(), 1000U);
  EXPECT_EQ(full.total(), 1024U);
  EXPECT_STREQ(full.what(), "tape scratch is full: asked 4096 bytes, used 1000 of 1024");
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

// The figure above would be 0 as well if the hook were not there.
TEST(TapeFull, TheHeapHookCounts) {
  const std::uint64_t before = tapedeck_heap_allocations();
  ::operator delete(::operator new(1000));
  EXPECT_GT(tapedeck_heap_allocations(), before);
}

TEST(TapeFull, CutsLongNames) {
  const std::string of_31 = "abcdefghijklmnopqrstuvwxyz12345";
  EXPECT_EQ(TapeFull(of_31, 1, 2, 3).name(), of_31);
  EXPECT_EQ(TapeFull(of_31 + "6", 1, 2, 3).name(), of_31);
  EXPECT_EQ(TapeFull(of_31 + std::string(1000, 'y'), 1, 2, 3).what(),
            "tape " + of_31 + " is full: asked 1 bytes, used 2 of 3");
}

TEST(TapeFull, TakesANameWithoutAnEnd) {
  const std::string_view part = std::string_view("history of talk 3").substr(0, 7);
  EXPECT_STREQ(TapeFull(part, 1, 2, 3).name(), "history");
}

TEST(TapeFull, TakesNoNameAtAll) {
  EXPECT_STREQ(TapeFull("", 1, 2, 3).name(), "");
  EXPECT_STREQ(TapeFull(std::string_view{}, 1, 2, 3).name(), "");
  EXPECT_STREQ(TapeFull("100 %s%n", 1, 2, 3).what(),
               "tape 100 %s%n is full: asked 1 bytes, used 2 of 3");
}

TEST(TapeFull, TheLongestTextIsWhole) {
  const TapeFull full(std::string(31, 'n'), kMost, kMost, kMost);
  const std::string most = std::to_string(kMost);
  EXPECT_EQ(full.what(), "tape " + std::string(31, 'n') + " is full: asked " + most +
                             " bytes, used " + most + " of " + most);
}

TEST(TapeFull, TheTapesNameIsTheOneItWasGiven) {
  Tape tape = Tape::start(4096, {.name = "history of a talk with a long, long name"});
  EXPECT_EQ(tape.name(), "history of a talk with a long, long name");
  const auto full = thrown<TapeFull>([&] { (void)tape.take(5000); });
  EXPECT_STREQ(full.name(), "history of a talk with a long, ");
  EXPECT_EQ(full.total(), 4096U);
}

}  // namespace
}  // namespace tapedeck::tests
