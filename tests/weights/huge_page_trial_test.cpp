// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/huge_page_trial.hpp"

#include <gtest/gtest.h>

namespace tapedeck::tests {
namespace {

TEST(HugePageTrial, ChoosesWhatItMeasuredOnce) {
  const HugePageTrial& trial = huge_page_trial();
  EXPECT_EQ(&trial, &huge_page_trial());
  if (trial.huge == 0) {
    EXPECT_EQ(trial.best, HugePages::never);
    GTEST_SKIP() << "this host has no transparent huge pages";
  }
  EXPECT_LE(trial.huge, trial.bytes);
  const bool faster = trial.transparent_seconds < trial.ordinary_seconds;
  EXPECT_EQ(trial.best, faster ? HugePages::transparent : HugePages::never);
}

}  // namespace
}  // namespace tapedeck::tests
