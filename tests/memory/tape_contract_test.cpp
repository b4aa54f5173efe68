// SPDX-License-Identifier: Apache-2.0
// Runs the contract on every kind of tape, and tests what only tapes of the host do.

#include "memory/tape_contract.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <span>

#include "device/device_tape_kinds.hpp"
#include "memory/tape_growth_contract.hpp"
#include "memory/tape_kinds.hpp"
#include "memory/tape_mark_contract.hpp"
#include "memory/tape_without_memory.hpp"

namespace tapedeck::tests {
namespace {

INSTANTIATE_TYPED_TEST_SUITE_P(All, TapeContract, AllTapeKinds, TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(All, TapeMarkContract, AllMarkedTapeKinds, TapeKindNames);
INSTANTIATE_TYPED_TEST_SUITE_P(All, TapeGrowthContract, AllGrowingTapeKinds, TapeKindNames);

using TapesWithoutMemory = ::testing::Types<Tape, SharedTape, DeviceTape>;
INSTANTIATE_TYPED_TEST_SUITE_P(All, TapeWithoutMemory, TapesWithoutMemory);

// Writes by the host.
template <class Kind>
class TypedTapeContract : public TapeContract<Kind> {};
TYPED_TEST_SUITE(TypedTapeContract, TapeKinds, TapeKindNames);

TYPED_TEST(TypedTapeContract, TypedTakesAreSpansOfElements) {
  struct alignas(256) Wide {
    std::array<float, 64> lane;
  };
  auto& tape = this->tape();
  (void)tape.take(1, 1);  // opens a line, which a span must not continue
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

TYPED_TEST(TypedTapeContract, TakeOneConstructsFromItsArguments) {
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
  EXPECT_EQ(tape.template take_one<int>(), 0);  // a value, as for `new int()`
  struct alignas(1024) Page {
    char byte;
  };
  EXPECT_TRUE(is_aligned(&tape.template take_one<Page>(), 1024));
}

}  // namespace
}  // namespace tapedeck::tests
