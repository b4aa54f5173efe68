#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/report/report.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ReportAbsent, SaysWhatIsMissing) {
  EXPECT_THAT([] { static_cast<void>(report_html(Recording())); },
              ThrowsMessage<InvalidArgument>(HasSubstr("libkainjow-mustache-dev")));
}

}  // namespace
}  // namespace tapedeck::tests
