// SPDX-License-Identifier: Apache-2.0
/// @file
/// The behavior of every kind of tape, on the host and on devices. Instantiated where the kinds are
/// defined.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/most.hpp"
#include "base/thrown.hpp"
#include "memory/pattern.hpp"
#include "memory/tape_kinds.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {

inline constexpr std::size_t kWidest = 2_MiB;
// Clang 14 does not evaluate a consteval literal inside a template.
inline constexpr std::size_t kLargePart = 64_KiB;
inline constexpr std::size_t kMuch = 1_GiB;

[[nodiscard]] inline bool is_aligned(const void* at, std::size_t align) {
  return (reinterpret_cast<std::uintptr_t>(at) & (align - 1)) == 0;
}

/// Takes of a kind of tape use multiples of this many bytes.
template <class AnyTape>
inline constexpr std::size_t kTakeLine = kLine;

template <class Kind>
class TapeContract : public ::testing::Test {
 protected:
  [[nodiscard]] Kind& kind() noexcept { return kind_; }
  [[nodiscard]] auto& tape() noexcept { return kind_.tape; }
  [[nodiscard]] std::size_t line() noexcept {
    return kTakeLine<std::remove_cvref_t<decltype(tape())>>;
  }

  // Memory of a device is written by the device.
  void write(const Pattern& pattern, void* at, std::size_t bytes) {
    if constexpr (requires { kind_.device; }) {
      std::vector<std::byte> staging(bytes);
      pattern.write(staging.data(), bytes);
      kind_.device->copy(static_cast<std::byte*>(at), staging.data(), bytes, nullptr);
      kind_.device->synchronize(nullptr);
    } else {
      pattern.write(at, bytes);
    }
  }
  [[nodiscard]] bool holds(const Pattern& pattern, const void* at, std::size_t bytes) {
    if constexpr (requires { kind_.device; }) {
      std::vector<std::byte> staging(bytes);
      kind_.device->copy(staging.data(), static_cast<const std::byte*>(at), bytes, nullptr);
      kind_.device->synchronize(nullptr);
      return pattern.is_at(staging.data(), bytes);
    } else {
      return pattern.is_at(at, bytes);
    }
  }

  // Takes until the tape is full, to the last line.
  void fill() {
    for (std::size_t bytes = kLargePart; bytes >= kLine; bytes /= 2) {
      while (tape().try_take(bytes) != nullptr) {
      }
    }
  }

  // All readers must report consistent values.
  void expect_consistent() {
    const TapeStat stat = tape().stat();
    EXPECT_EQ(tape().used() + tape().free(), tape().total());
    EXPECT_EQ(stat.used, tape().used());
    EXPECT_EQ(stat.reserved, tape().total());
    EXPECT_EQ(stat.peak, tape().peak());
    EXPECT_EQ(stat.committed, tape().committed());
    EXPECT_LE(stat.used, stat.peak);
    EXPECT_LE(stat.used, stat.committed);
    EXPECT_LE(stat.committed, stat.reserved);
    EXPECT_EQ(stat.used % line(), 0U);
  }

 private:
  Kind kind_;
};
TYPED_TEST_SUITE_P(TapeContract);

TYPED_TEST_P(TapeContract, StartsEmpty) {
  auto& tape = this->tape();
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.peak(), 0U);
  EXPECT_GE(tape.total(), kKindBytes);
  EXPECT_LT(tape.total(), kKindBytes + 200);
  EXPECT_EQ(tape.name(), "kind");
  const TapeStat stat = tape.stat();
  EXPECT_EQ(stat.clears + stat.refused + stat.spills + stat.spilled + stat.planned, 0U);
  if constexpr (requires { tape.block().page_size(); }) {
    EXPECT_EQ(stat.page_size, tape.block().page_size());
  } else {
    EXPECT_EQ(stat.page_size, tape.block().page_bytes());
  }
  this->expect_consistent();
}

TYPED_TEST_P(TapeContract, EveryAlignmentIsOfTheAddress) {
  auto& tape = this->tape();
  for (std::size_t align = 1; align <= kWidest; align *= 2) {
    ASSERT_NE(tape.try_take(1, 1), nullptr);  // puts the head at an arbitrary place
    const void* at = tape.try_take(1, align);
    ASSERT_NE(at, nullptr) << align;
    EXPECT_TRUE(is_aligned(at, align)) << at << " at " << align;
    EXPECT_TRUE(tape.owns(at));
    this->expect_consistent();
  }
}

TYPED_TEST_P(TapeContract, TheDefaultAlignmentIsALine) {
  for (const std::size_t bytes : {1U, 3U, 64U, 65U, 1000U}) {
    const std::size_t before = this->tape().used();
    EXPECT_TRUE(is_aligned(this->tape().take(bytes), this->line())) << bytes;
    EXPECT_EQ(this->tape().used() - before, round_up(bytes, this->line())) << bytes;
  }
}

TYPED_TEST_P(TapeContract, TakesDoNotOverlapAndKeepTheirBytesUntilClear) {
  auto& tape = this->tape();
  std::vector<std::span<std::byte>> taken;
  // Small and large, packed and wide takes, until after the tape is full (so that it spills).
  for (std::size_t i = 0;; ++i) {
    const std::size_t bytes = i % 5 == 0 ? 20'000 + i : 1 + i * 37 % 700;
    const std::size_t align = std::size_t{1} << i % 13;
    void* at = tape.try_take(bytes, align);
    if (at == nullptr) break;
    this->write(Pattern(i), at, bytes);
    taken.emplace_back(static_cast<std::byte*>(at), bytes);
  }
  EXPECT_GT(taken.size(), 1000U);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    ASSERT_TRUE(this->holds(Pattern(i), taken[i].data(), taken[i].size())) << "take " << i;
    EXPECT_TRUE(tape.owns(&taken[i].front()) && tape.owns(&taken[i].back()));
  }
}

TYPED_TEST_P(TapeContract, ZeroBytesTakeNoRoomAtAnyAlignmentAlsoFromAFullTape) {
  auto& tape = this->tape();
  for (const bool full : {false, true}) {
    if (full) this->fill();
    ASSERT_NE(tape.try_take(full ? 0 : 100), nullptr);
    const TapeStat before = tape.stat();
    for (std::size_t align = 1; align != 0; align *= 2) {
      const void* at = tape.try_take(0, align);
      EXPECT_NE(at, nullptr) << align;
      EXPECT_TRUE(is_aligned(at, align)) << align;
      EXPECT_NE(tape.take(0, align), nullptr) << align;
    }
    EXPECT_NE(tape.template try_take<double>(0).data(), nullptr);
    EXPECT_EQ(tape.used(), before.used);
    EXPECT_EQ(tape.stat().refused, before.refused);
    EXPECT_EQ(tape.stat().spills, before.spills);
  }
}

TYPED_TEST_P(TapeContract, SizesNearTheEndOfTheAddressSpaceAreRefusedAndChangeNothing) {
  auto& tape = this->tape();
  ASSERT_NE(tape.try_take(5, 1), nullptr);
  const TapeStat before = tape.stat();
  std::uint64_t refused = 0;
  for (const std::size_t align : {1UL, 8UL, 64UL, 128UL, 4096UL, 2UL << 20, 1UL << 63}) {
    for (const std::size_t less : {0U, 1U, 7U, 63U, 64U, 65U, 127U, 4096U, 1U << 30}) {
      EXPECT_EQ(tape.try_take(kMost - less, align), nullptr) << less << " at " << align;
      ++refused;
    }
    EXPECT_EQ(tape.try_take(kMost / 2, align), nullptr) << align;
    EXPECT_EQ(tape.try_take(tape.total() + kMuch, align), nullptr) << align;
    refused += 2;
  }
  EXPECT_EQ(tape.used(), before.used);
  EXPECT_EQ(tape.peak(), before.peak);
  EXPECT_EQ(tape.committed(), before.committed);
  EXPECT_EQ(tape.stat().refused, refused);
  this->expect_consistent();
}

TYPED_TEST_P(TapeContract, ElementCountsThatOverflowAreRefusedAndChangeNothing) {
  auto& tape = this->tape();
  // 2^61 doubles are 2^64 bytes. A product that overflows would be small.
  for (const std::size_t count : {kMost / 8 + 1, kMost / 8 + 2, kMost / 4, kMost / 2 + 1, kMost}) {
    EXPECT_EQ(tape.template try_take<double>(count).data(), nullptr) << count;
    EXPECT_TRUE(tape.template try_take<double>(count).empty()) << count;
    const auto full = thrown<TapeFull>([&] { return tape.template take<double>(count); });
    EXPECT_EQ(full.requested(), kMost);
  }
  EXPECT_EQ(tape.used(), 0U);
}

TYPED_TEST_P(TapeContract, CanBeFilledToTheLastByteAndNoFurther) {
  auto& tape = this->tape();
  (void)tape.take(1000);
  const std::size_t rest = tape.free();
  const void* too_much = tape.try_take(rest + 1);
  EXPECT_TRUE(too_much == nullptr || tape.stat().spills == 1);
  EXPECT_EQ(tape.used(), 1024U);
  void* last = tape.try_take(rest);
  ASSERT_NE(last, nullptr);
  this->write(Pattern(7), last, rest);
  EXPECT_TRUE(this->holds(Pattern(7), last, rest));
  EXPECT_EQ(tape.free(), 0U);
  EXPECT_EQ(tape.committed(), tape.total());
  this->expect_consistent();
}

TYPED_TEST_P(TapeContract, AFullTapeRefusesAndStaysAsItIs) {
  this->fill();
  auto& tape = this->tape();
  EXPECT_EQ(tape.free(), 0U);
  const std::uint64_t refused = tape.stat().refused;
  EXPECT_EQ(tape.try_take(1), nullptr);
  EXPECT_EQ(tape.try_take(1, 1), nullptr);
  EXPECT_EQ(tape.try_take(1, 4096), nullptr);
  EXPECT_EQ(tape.template try_take<int>(3).data(), nullptr);
  EXPECT_EQ(tape.template try_take<char>(3, 2).data(), nullptr);
  EXPECT_EQ(tape.stat().refused, refused + 5);
  EXPECT_EQ(tape.free(), 0U);
  this->expect_consistent();
}

TYPED_TEST_P(TapeContract, TapeFullCarriesTheFacts) {
  this->fill();
  auto& tape = this->tape();
  const auto full = thrown<TapeFull>([&] { return tape.take(12'345); });
  EXPECT_STREQ(full.name(), "kind");
  EXPECT_EQ(full.requested(), 12'345U);
  EXPECT_EQ(full.used(), tape.used());
  EXPECT_EQ(full.total(), tape.total());
  EXPECT_THROW((void)tape.template take<double>(2), std::bad_alloc);
  EXPECT_THROW((void)tape.take(1, 1), std::bad_alloc);
}

TYPED_TEST_P(TapeContract, ClearGivesEverythingBack) {
  auto& tape = this->tape();
  const void* first = tape.take(100);
  this->fill();
  EXPECT_EQ(tape.try_take(64), nullptr);
  tape.clear();
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.free(), tape.total());
  EXPECT_EQ(tape.stat().clears, 1U);
  EXPECT_EQ(tape.stat().spilled, 0U);
  EXPECT_EQ(tape.take(100), first);
  this->fill();
  EXPECT_EQ(tape.free(), 0U);
  this->expect_consistent();
  tape.clear();
  tape.clear();  // clears an empty tape
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.stat().clears, 3U);
}

TYPED_TEST_P(TapeContract, ThePeakIsTheMostOverAllClears) {
  auto& tape = this->tape();
  std::size_t most = 0;
  for (const std::size_t bytes : {1000U, 50'000U, 64U, 200'000U, 1U, 199'999U}) {
    (void)tape.take(bytes);
    (void)tape.take(bytes, 16);
    most = std::max(most, tape.used());
    EXPECT_EQ(tape.peak(), most);
    tape.clear();
    EXPECT_EQ(tape.peak(), most);
    this->expect_consistent();
  }
}

TYPED_TEST_P(TapeContract, OwnsItsAddressesAndNoOthers) {
  auto& tape = this->tape();
  const auto* first = static_cast<const std::byte*>(tape.take(1));
  const int elsewhere = 0;
  EXPECT_TRUE(tape.owns(first));
  EXPECT_TRUE(tape.owns(first + tape.total() - 1));  // whether it was taken or not
  EXPECT_FALSE(tape.owns(first - 1));
  EXPECT_FALSE(tape.owns(first + tape.total()));
  EXPECT_FALSE(tape.owns(&elsewhere));
  EXPECT_FALSE(tape.owns(nullptr));
  tape.clear();
  EXPECT_TRUE(tape.owns(first));
}

TYPED_TEST_P(TapeContract, MovesWithWhatItHolds) {
  auto& from = this->tape();
  void* at = from.take(1000);
  this->write(Pattern(1), at, 1000);
  const TapeStat before = from.stat();
  auto to = std::move(from);
  EXPECT_EQ(to.name(), "kind");
  EXPECT_EQ(to.used(), 1024U);
  EXPECT_EQ(to.committed(), before.committed);
  EXPECT_TRUE(to.owns(at) && this->holds(Pattern(1), at, 1000));
  EXPECT_NE(to.try_take(to.free()), nullptr);

  // NOLINTBEGIN(bugprone-use-after-move): the moved-from state is tested
  EXPECT_EQ(from.total() + from.used() + from.peak() + from.clears(), 0U);
  EXPECT_EQ(from.try_take(1), nullptr);
  EXPECT_EQ(from.try_take(1, 1), nullptr);
  EXPECT_NE(from.try_take(0), nullptr);
  from.clear();
  EXPECT_FALSE(from.owns(at));
  // NOLINTEND(bugprone-use-after-move)

  auto& same_tape = to;
  to = std::move(same_tape);
  EXPECT_EQ(to.free(), 0U);
  from = std::move(to);
  EXPECT_TRUE(from.owns(at) && this->holds(Pattern(1), at, 1000));
  EXPECT_EQ(to.total(), 0U);  // NOLINT(bugprone-use-after-move): tested on purpose
}

REGISTER_TYPED_TEST_SUITE_P(TapeContract, MovesWithWhatItHolds, StartsEmpty,
                            EveryAlignmentIsOfTheAddress, TheDefaultAlignmentIsALine,
                            TakesDoNotOverlapAndKeepTheirBytesUntilClear,
                            ZeroBytesTakeNoRoomAtAnyAlignmentAlsoFromAFullTape,
                            SizesNearTheEndOfTheAddressSpaceAreRefusedAndChangeNothing,
                            ElementCountsThatOverflowAreRefusedAndChangeNothing,
                            CanBeFilledToTheLastByteAndNoFurther, AFullTapeRefusesAndStaysAsItIs,
                            TapeFullCarriesTheFacts, ClearGivesEverythingBack,
                            ThePeakIsTheMostOverAllClears, OwnsItsAddressesAndNoOthers);

}  // namespace tapedeck::tests
