// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape_resource.hpp"
#include "memory/heap_allocations.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <numeric>
#include <string>
#include <unordered_map>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {
namespace {

TEST(TapeResource, ContainersLiveOnTheTape) {
  Tape tape = Tape::start(1_MiB);
  TapeResource on_tape(tape);
  EXPECT_EQ(&on_tape.tape(), &tape);
  std::pmr::vector<int> numbers(1000, &on_tape);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_TRUE(tape.owns(numbers.data()));
  std::pmr::unordered_map<int, std::pmr::string> words(&on_tape);
  for (int i = 0; i < 100; ++i) words.emplace(i, std::string(50, 'a'));
  for (const auto& [key, word] : words) {
    // The allocator is passed to the elements.
    EXPECT_TRUE(tape.owns(&key) && tape.owns(word.data()));
    EXPECT_EQ(word.size(), 50U);
  }
  EXPECT_EQ(numbers[999], 999);
}

TEST(TapeResource, AllocatesNothingFromTheHeap) {
  Tape tape = Tape::start(1_MiB);
  TapeResource on_tape(tape);
  const std::uint64_t before = tapedeck_heap_allocations();
  std::pmr::vector<double> numbers(&on_tape);
  for (int i = 0; i < 1000; ++i) numbers.push_back(i);
  EXPECT_EQ(tapedeck_heap_allocations(), before);
}

TEST(TapeResource, HonoursAlignmentAndZeroBytes) {
  Tape tape = Tape::start(1_MiB);
  TapeResource on_tape(tape);
  for (std::size_t align = 1; align <= 64_KiB; align *= 2) {
    (void)on_tape.allocate(1, 1);
    const void* at = on_tape.allocate(3, align);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % align, 0U);
  }
  const std::size_t used = tape.used();
  EXPECT_NE(on_tape.allocate(0), nullptr);
  EXPECT_EQ(tape.used(), used);
}

TEST(TapeResource, DeallocationGivesNothingBack) {
  Tape tape = Tape::start(1_MiB);
  TapeResource on_tape(tape);
  void* at = on_tape.allocate(1000, 8);
  const std::size_t used = tape.used();
  on_tape.deallocate(at, 1000, 8);
  EXPECT_EQ(tape.used(), used);
  EXPECT_NE(on_tape.allocate(1000, 8), at);
}

TEST(TapeResource, AFullTapeThrowsBadAlloc) {
  Tape tape = Tape::start(4_KiB, {.name = "small"});
  TapeResource on_tape(tape);
  std::pmr::vector<char> numbers(&on_tape);
  EXPECT_THROW(numbers.resize(5000), TapeFull);
  EXPECT_THROW(numbers.resize(5000), std::bad_alloc);
  EXPECT_TRUE(numbers.empty());
  numbers.resize(4096);
  EXPECT_TRUE(tape.owns(numbers.data()));
}

TEST(TapeResource, IsEqualOnTheSameTapeOnly) {
  Tape tape = Tape::start(1_MiB);
  Tape other = Tape::start(1_MiB);
  const TapeResource a(tape);
  const TapeResource b(tape);
  const TapeResource c(other);
  EXPECT_TRUE(a == a);
  EXPECT_TRUE(a == b);
  EXPECT_FALSE(a == c);
  EXPECT_FALSE(a == *std::pmr::new_delete_resource());
}

}  // namespace
}  // namespace tapedeck::tests
