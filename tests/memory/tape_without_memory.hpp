// SPDX-License-Identifier: Apache-2.0
/// @file
/// A tape without memory behaves like a full one. Instantiated where the tapes are defined.
#pragma once

#include <gtest/gtest.h>

#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::tests {

template <class Any>
class TapeWithoutMemory : public ::testing::Test {};
TYPED_TEST_SUITE_P(TapeWithoutMemory);

TYPED_TEST_P(TapeWithoutMemory, IsFull) {
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
  if constexpr (requires { tape.mark(); }) {
    tape.rewind(tape.mark());
    EXPECT_TRUE(tape.try_prepare(0));
    EXPECT_FALSE(tape.try_prepare(1));
    EXPECT_EQ(tape.decommit(), 0U);
  }
  if constexpr (requires { tape.warm(); }) {
    EXPECT_TRUE(tape.warm());
    EXPECT_EQ(tape.residency().present, 0U);
  }
  EXPECT_FALSE(tape.owns(&tape));
  EXPECT_FALSE(tape.owns(nullptr));
  EXPECT_EQ(tape.stat().reserved, 0U);
}

REGISTER_TYPED_TEST_SUITE_P(TapeWithoutMemory, IsFull);

}  // namespace tapedeck::tests
