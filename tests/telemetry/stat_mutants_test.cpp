#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

/// It tears by chance, and almost always: each of the readers looks thousands of times.
void expect_torn(const std::string& program) {
  Said said;
  for (int run = 0; run < 5 && said.exit_code <= 0; ++run) said = shell(program);
  EXPECT_GT(said.exit_code, 0) << said.text;
  EXPECT_THAT(said.text, HasSubstr("torn: "));
}

TEST(StatMutants, ARecordThatIsNeverMarkedIsCaught) { expect_torn(TAPEDECK_NEVER_ODD); }

TEST(StatMutants, AReaderThatDoesNotLookAgainIsCaught) { expect_torn(TAPEDECK_LOOKS_ONCE); }

}  // namespace
}  // namespace tapedeck::tests
