// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "telemetry/prometheus.hpp"

namespace tapedeck::tests {
namespace {

TEST(Scraped, PrometheusHasWhatASnapshotSays) {
  if (prometheus_program("prometheus").empty()) {
    GTEST_SKIP() << "Prometheus is not installed (Debian: prometheus)";
  }
  const BusyLayout busy;
  const std::string name = "my \"chat\" \\ 日本";
  const MetricsServer server({{&busy.layout, name, &busy.phases}}, ":0", busy.everything());
  Series scraped = Prometheus(server.address()).series();
  EXPECT_GT(scraped.at("tapedeck_process_rss_anon_bytes"), 1_MiB);
  // The process continues meanwhile, so its figures change.
  std::erase_if(scraped,
                [](const auto& one) { return one.first.starts_with("tapedeck_process_"); });
  Snapshot now = busy.snapshot(name);
  now.process.reset();
  EXPECT_EQ(scraped, series_of(metrics_text({&now, 1})));
}

}  // namespace
}  // namespace tapedeck::tests
