#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/report.hpp"

namespace tapedeck::tests {
namespace {

TEST(ReportAbsent, SaysWhatIsMissing) {
  try {
    static_cast<void>(report_html(Recording()));
    FAIL() << "makes a page without its template";
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("libkainjow-mustache-dev"));
  }
}

}  // namespace
}  // namespace tapedeck::tests
