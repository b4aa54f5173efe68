// What the tests of this program must catch.
#include <gmock/gmock.h>

#include <string>

#include "memory/program.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(WeightsMutant, AChunkThatIsReadyTooEarlyIsCaughtByItsReaders) {
  const Ran ran = run_program(std::string(TAPEDECK_READY_TOO_EARLY) +
                              " --gtest_filter='*ReadsInTheOrder*/read:*ReadsInTheOrder*/direct'");
  EXPECT_GT(ran.exit_code, 0) << ran.output;
  // The readers tell, or ThreadSanitizer does before they can.
  EXPECT_THAT(ran.output, AnyOf(HasSubstr("wrong_"), HasSubstr("data race")));
}

}  // namespace
}  // namespace tapedeck::tests
