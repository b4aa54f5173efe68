// What the tests of this program must catch.
#include <gmock/gmock.h>

#include <string>

#include "memory/program.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

TEST(WeightsMutant, AChunkThatIsReadyTooEarlyIsCaughtByItsReaders) {
  const Ran ran = run_program(std::string(TAPEDECK_READY_TOO_EARLY) +
                              " --gtest_filter='*AtEachStep*/read:*AtEachStep*/direct'");
  EXPECT_EQ(ran.exit_code, 1) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("wrong_"));
  EXPECT_THAT(ran.output, HasSubstr("2 FAILED TESTS"));
}

}  // namespace
}  // namespace tapedeck::tests
