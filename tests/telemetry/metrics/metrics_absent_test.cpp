// SPDX-License-Identifier: Apache-2.0
// For a build without prometheus-cpp.

#include <gtest/gtest.h>

#include "base/thrown.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"

namespace tapedeck::tests {
namespace {

TEST(MetricsAbsent, SayWhatIsMissing) {
  const Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const Snapshot now = snapshot_of(layout, "chat");
  const auto text = [&] { static_cast<void>(metrics_text({&now, 1})); };
  const auto serve = [&] { const MetricsServer server({{&layout, "chat"}}, ":0"); };
  EXPECT_EQ(thrown<Unsupported>(text).feature(), "Prometheus metrics");
  EXPECT_EQ(thrown<Unsupported>(serve).feature(), "Prometheus metrics");
}

}  // namespace
}  // namespace tapedeck::tests
