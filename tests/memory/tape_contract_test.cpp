// What every kind of tape does.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "memory/pattern.hpp"
#include "memory/tape_kinds.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
constexpr std::size_t kWidest = 2_MiB;
// Clang 14 does not evaluate a consteval literal inside a template.
constexpr std::size_t kLargePart = 64_KiB;
constexpr std::size_t kMuch = 1_GiB;

[[nodiscard]] bool is_aligned(const void* at, std::size_t align) {
  return (reinterpret_cast<std::uintptr_t>(at) & (align - 1)) == 0;
}

template <class Kind>
class TapeContract : public ::testing::Test {
 protected:
  [[nodiscard]] auto& tape() noexcept { return kind_.tape; }

  // Takes until nothing more is given, to the last line.
  void fill() {
    for (std::size_t bytes = kLargePart; bytes >= kLine; bytes /= 2) {
      while (tape().try_take(bytes) != nullptr) {
      }
    }
  }

  // What every reader is told must agree.
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
    EXPECT_EQ(stat.used % kLine, 0U);
  }

 private:
  Kind kind_;
};
TYPED_TEST_SUITE(TapeContract, TapeKinds, TapeKindNames);

TYPED_TEST(TapeContract, StartsEmpty) {
  auto& tape = this->tape();
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.peak(), 0U);
  EXPECT_GE(tape.total(), kKindBytes);
  EXPECT_LT(tape.total(), kKindBytes + 200);
  EXPECT_EQ(tape.name(), "kind");
  const TapeStat stat = tape.stat();
  EXPECT_EQ(stat.clears + stat.refused + stat.spills + stat.grows + stat.spilled + stat.planned,
            0U);
  EXPECT_EQ(stat.page_size, tape.block().page_size());
  this->expect_consistent();
}

TYPED_TEST(TapeContract, EveryAlignmentIsOfTheAddress) {
  auto& tape = this->tape();
  for (std::size_t align = 1; align <= kWidest; align *= 2) {
    ASSERT_NE(tape.try_take(1, 1), nullptr);  // so that the head is nowhere in particular
    const void* at = tape.try_take(1, align);
    ASSERT_NE(at, nullptr) << align;
    EXPECT_TRUE(is_aligned(at, align)) << at << " at " << align;
    EXPECT_TRUE(tape.owns(at));
    this->expect_consistent();
  }
}

TYPED_TEST(TapeContract, TheDefaultAlignmentIsALine) {
  for (const std::size_t bytes : {1U, 3U, 64U, 65U, 1000U}) {
    const std::size_t before = this->tape().used();
    EXPECT_TRUE(is_aligned(this->tape().take(bytes), 64)) << bytes;
    EXPECT_EQ(this->tape().used() - before, round_up(bytes, 64)) << bytes;
  }
}

TYPED_TEST(TapeContract, TakesDoNotOverlapAndKeepTheirBytesUntilClear) {
  auto& tape = this->tape();
  std::vector<std::span<std::byte>> taken;
  // Small and large, packed and wide, on past the end (where the spill comes in).
  for (std::size_t i = 0;; ++i) {
    const std::size_t bytes = i % 5 == 0 ? 20'000 + i : 1 + i * 37 % 700;
    const std::size_t align = std::size_t{1} << i % 13;
    void* at = tape.try_take(bytes, align);
    if (at == nullptr) break;
    Pattern(i).write(at, bytes);
    taken.emplace_back(static_cast<std::byte*>(at), bytes);
  }
  EXPECT_GT(taken.size(), 1000U);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    ASSERT_TRUE(Pattern(i).is_at(taken[i].data(), taken[i].size())) << "take " << i;
    EXPECT_TRUE(tape.owns(&taken[i].front()) && tape.owns(&taken[i].back()));
  }
}

TYPED_TEST(TapeContract, ZeroBytesTakeNoRoomAtAnyAlignment) {
  auto& tape = this->tape();
  ASSERT_NE(tape.try_take(100), nullptr);
  const std::size_t used = tape.used();
  for (std::size_t align = 1; align != 0; align *= 2) {
    const void* at = tape.try_take(0, align);
    EXPECT_NE(at, nullptr) << align;
    EXPECT_TRUE(is_aligned(at, align)) << align;
  }
  EXPECT_EQ(tape.used(), used);
  EXPECT_EQ(tape.stat().refused + tape.stat().spills, 0U);
}

TYPED_TEST(TapeContract, ZeroBytesCanBeTakenFromAFullTape) {
  this->fill();
  auto& tape = this->tape();
  const TapeStat before = tape.stat();
  for (std::size_t align = 1; align != 0; align *= 2) {
    EXPECT_NE(tape.try_take(0, align), nullptr) << align;
    EXPECT_NE(tape.take(0, align), nullptr) << align;
  }
  EXPECT_NE(tape.template try_take<double>(0).data(), nullptr);
  EXPECT_EQ(tape.used(), before.used);
  EXPECT_EQ(tape.stat().refused, before.refused);
  EXPECT_EQ(tape.stat().spills, before.spills);
}

TYPED_TEST(TapeContract, SizesNearTheEndOfTheAddressSpaceAreRefusedAndChangeNothing) {
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

TYPED_TEST(TapeContract, ElementCountsThatOverflowAreRefusedAndChangeNothing) {
  auto& tape = this->tape();
  // 2^61 doubles are 2^64 bytes: a product that wraps would be small.
  for (const std::size_t count : {kMost / 8 + 1, kMost / 8 + 2, kMost / 4, kMost / 2 + 1, kMost}) {
    EXPECT_EQ(tape.template try_take<double>(count).data(), nullptr) << count;
    EXPECT_TRUE(tape.template try_take<double>(count).empty()) << count;
    try {
      (void)tape.template take<double>(count);
      ADD_FAILURE() << count << " doubles were given";
    } catch (const TapeFull& full) {
      EXPECT_EQ(full.requested(), kMost);
    }
  }
  EXPECT_EQ(tape.used(), 0U);
}

TYPED_TEST(TapeContract, CanBeFilledToTheLastByte) {
  auto& tape = this->tape();
  (void)tape.take(1000);
  const std::size_t rest = tape.free();
  void* last = tape.try_take(rest);
  ASSERT_NE(last, nullptr);
  Pattern(7).write(last, rest);
  EXPECT_TRUE(Pattern(7).is_at(last, rest));
  EXPECT_EQ(tape.free(), 0U);
  EXPECT_EQ(tape.committed(), tape.total());
  this->expect_consistent();
}

TYPED_TEST(TapeContract, OneByteMoreThanThereIsDoesNotFit) {
  auto& tape = this->tape();
  (void)tape.take(1000);
  const std::size_t spills = tape.stat().spills;
  void* too_much = tape.try_take(tape.free() + 1);
  EXPECT_TRUE(too_much == nullptr || tape.stat().spills == spills + 1);
  EXPECT_EQ(tape.used(), 1024U);
}

TYPED_TEST(TapeContract, AFullTapeRefusesAndStaysAsItIs) {
  this->fill();
  auto& tape = this->tape();
  EXPECT_EQ(tape.free(), 0U);
  const std::uint64_t refused = tape.stat().refused;
  EXPECT_EQ(tape.try_take(1), nullptr);
  EXPECT_EQ(tape.try_take(1, 1), nullptr);
  EXPECT_EQ(tape.try_take(1, 4096), nullptr);
  EXPECT_EQ(tape.template try_take<int>(3).data(), nullptr);
  EXPECT_EQ(tape.template try_take_one<int>(3), nullptr);
  EXPECT_EQ(tape.stat().refused, refused + 5);
  EXPECT_EQ(tape.free(), 0U);
  this->expect_consistent();
}

TYPED_TEST(TapeContract, TapeFullCarriesTheFacts) {
  this->fill();
  auto& tape = this->tape();
  try {
    (void)tape.take(12'345);
    FAIL() << "a full tape gave something";
  } catch (const TapeFull& full) {
    EXPECT_STREQ(full.name(), "kind");
    EXPECT_EQ(full.requested(), 12'345U);
    EXPECT_EQ(full.used(), tape.used());
    EXPECT_EQ(full.total(), tape.total());
    EXPECT_EQ(full.what(), "tape kind is full: asked 12345 bytes, used " +
                               std::to_string(tape.used()) + " of " + std::to_string(tape.total()));
  }
  EXPECT_THROW((void)tape.template take<double>(2), std::bad_alloc);
  EXPECT_THROW((void)tape.template take_one<double>(2.0), std::bad_alloc);
}

TYPED_TEST(TapeContract, ClearGivesEverythingBack) {
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
}

TYPED_TEST(TapeContract, ClearOfAnEmptyTapeCounts) {
  auto& tape = this->tape();
  tape.clear();
  tape.clear();
  EXPECT_EQ(tape.used(), 0U);
  EXPECT_EQ(tape.stat().clears, 2U);
}

TYPED_TEST(TapeContract, ThePeakIsTheMostOverAllClears) {
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

TYPED_TEST(TapeContract, OwnsItsAddressesAndNoOthers) {
  auto& tape = this->tape();
  const auto* first = static_cast<const std::byte*>(tape.take(1));
  const int elsewhere = 0;
  EXPECT_TRUE(tape.owns(first));
  EXPECT_TRUE(tape.owns(first + tape.total() - 1));  // taken or not
  EXPECT_FALSE(tape.owns(first - 1));
  EXPECT_FALSE(tape.owns(first + tape.total()));
  EXPECT_FALSE(tape.owns(&elsewhere));
  EXPECT_FALSE(tape.owns(nullptr));
  tape.clear();
  EXPECT_TRUE(tape.owns(first));
}

TYPED_TEST(TapeContract, TypedTakesAreSpansOfElements) {
  struct alignas(256) Wide {
    std::array<float, 64> lane;
  };
  auto& tape = this->tape();
  (void)tape.take(1, 1);  // opens a line, which a span does not go on in
  const std::span<float> floats = tape.template take<float>(1000);
  ASSERT_EQ(floats.size(), 1000U);
  EXPECT_TRUE(is_aligned(floats.data(), 64));
  EXPECT_EQ(tape.used(), 64 + round_up(4000, 64));
  for (float& one : floats) one = 1.5F;

  const std::span<Wide> wide = tape.template try_take<Wide>(3);
  ASSERT_EQ(wide.size(), 3U);
  EXPECT_TRUE(is_aligned(wide.data(), 256));
  wide[2].lane[63] = 2.0F;

  const std::span<std::uint16_t> halves = tape.template take<std::uint16_t>(5, 4096);
  EXPECT_TRUE(is_aligned(halves.data(), 4096));
  const std::span<char> none = tape.template take<char>(0);
  EXPECT_TRUE(none.empty() && none.data() != nullptr);
  EXPECT_EQ(floats[999], 1.5F);
}

TYPED_TEST(TapeContract, TakeOneConstructsFromItsArguments) {
  struct Token {
    Token(int id_of, float p_of) : id(id_of), p(p_of) {}
    int id;
    float p;
  };
  auto& tape = this->tape();
  Token& a = tape.template take_one<Token>(7, 0.5F);
  Token* b = tape.template try_take_one<Token>(8, 0.25F);
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(a.id, 7);
  EXPECT_EQ(a.p, 0.5F);
  EXPECT_EQ(b->id, 8);
  EXPECT_EQ(tape.template take_one<int>(), 0);  // a value, as `new int()`
  struct alignas(1024) Page {
    char byte;
  };
  EXPECT_TRUE(is_aligned(&tape.template take_one<Page>(), 1024));
}

// A tape that nobody gave memory behaves like a full one.
template <class Any>
class TapeWithoutMemory : public ::testing::Test {};
using BothTapes = ::testing::Types<Tape, SharedTape>;
TYPED_TEST_SUITE(TapeWithoutMemory, BothTapes, );

TYPED_TEST(TapeWithoutMemory, IsFull) {
  TypeParam tape;
  EXPECT_EQ(tape.total() + tape.used() + tape.free() + tape.peak() + tape.committed(), 0U);
  EXPECT_EQ(tape.name(), "none");
  EXPECT_EQ(tape.block().size(), 0U);
  for (const std::size_t align : {1U, 64U, 4096U}) {
    EXPECT_EQ(tape.try_take(1, align), nullptr);
    EXPECT_THROW((void)tape.take(1, align), TapeFull);
    EXPECT_NE(tape.try_take(0, align), nullptr);
  }
  tape.clear();
  EXPECT_FALSE(tape.owns(&tape));
  EXPECT_FALSE(tape.owns(nullptr));
  EXPECT_EQ(tape.stat().reserved, 0U);
}

}  // namespace
}  // namespace tapedeck::tests
