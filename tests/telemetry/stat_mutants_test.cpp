// What the interleaving test must catch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "os/shared_folder.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

using StatMutants = InSharedMemory;

void expect_torn(const std::string& program) {
  const Said said = shell(program);
  EXPECT_EQ(said.exit_code, 1) << said.text;
  EXPECT_THAT(said.text, HasSubstr("torn"));
}

TEST_F(StatMutants, NeitherAReaderNorAPublisherIsOne) {
  const Said said = shell(TAPEDECK_STAT_INTERLEAVING);
  EXPECT_EQ(said.exit_code, 0) << said.text;
  EXPECT_THAT(said.text, HasSubstr("[  PASSED  ] 2 tests."));
}

TEST_F(StatMutants, ARecordThatIsNeverMarkedIsCaught) { expect_torn(TAPEDECK_NEVER_ODD); }

TEST_F(StatMutants, AReaderThatDoesNotLookAgainIsCaught) { expect_torn(TAPEDECK_LOOKS_ONCE); }

}  // namespace
}  // namespace tapedeck::tests
