// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/thrown.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/report/report.hpp"

namespace tapedeck::tests {
namespace {

TEST(ReportAbsent, SaysWhatIsMissing) {
  const auto report = [] { static_cast<void>(report_html(Recording())); };
  EXPECT_EQ(thrown<Unsupported>(report).feature(), "reports");
}

}  // namespace
}  // namespace tapedeck::tests
