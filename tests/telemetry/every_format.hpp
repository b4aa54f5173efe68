/// @file
/// One test of every form that a `Stat` is exported in: each figure is there, under its name and
/// with its value. A form is a struct with `told`, which exports a stat and gives what was
/// exported.
#pragma once

#include <gtest/gtest.h>

#include "telemetry/every_figure.hpp"

namespace tapedeck::tests {

template <class Format>
class EveryFormat : public ::testing::Test {};

TYPED_TEST_SUITE_P(EveryFormat);

TYPED_TEST_P(EveryFormat, HasEveryFigure) {
  for (const std::size_t gpus : {0U, 2U}) {
    const Stat stat = numbered_stat(gpus);
    EXPECT_EQ(TypeParam::told(stat), every_figure(stat));
  }
}

REGISTER_TYPED_TEST_SUITE_P(EveryFormat, HasEveryFigure);

}  // namespace tapedeck::tests
