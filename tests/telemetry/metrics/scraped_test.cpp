#include <gtest/gtest.h>

#include <string>

#include "layout/stat_walk.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "telemetry/prometheus.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

// Each figure of the list, under the name that the list gives it, with the value of `Stat`.
void expect_scraped(const Series& scraped, const std::string& prefix, const std::string& labels,
                    const auto& fields, const auto& figures) {
  for (const auto& field : fields) {
    std::string name = prefix + field.name;
    if (field.unit == StatUnit::bytes) name += "_bytes";
    if (field.kind == StatKind::counter) name += "_total";
    name += "{" + labels + "}";
    ASSERT_TRUE(scraped.contains(name)) << name;
    EXPECT_EQ(scraped.at(name), static_cast<double>(field.of(figures))) << name;
  }
}

TEST(Scraped, PrometheusHasWhatStatSays) {
  if (prometheus_program("prometheus").empty()) {
    GTEST_SKIP() << "there is no Prometheus (Debian: prometheus)";
  }
  const BusyLayout busy;
  const std::string name = "my \"chat\" \\ 日本";
  const MetricsServer server({{&busy.layout, name, &busy.phases}}, ":0",
                             {.devices = true, .process = ProcessOptions()});
  const Series scraped = Prometheus(server.address()).series();
  const Stat stat = busy.layout.stat();
  const std::string label = "layout=\"" + name + "\"";
  internal::for_each_list(stat, stat.gpus, [&](const auto& of, const auto& fields, const auto& in) {
    std::string labels = label;
    if (of.place) labels += ",place=\"" + to_string(*of.place) + "\"";
    if (of.tape) labels += std::string(",tape=\"") + to_string(*of.tape) + "\"";
    const char* const prefix = of.tape    ? "tapedeck_tape_"
                               : of.place ? "tapedeck_device_"
                                          : "tapedeck_layout_";
    expect_scraped(scraped, prefix, labels, fields, in);
  });
  for (const PhaseFigures& phase : busy.phases.figures()) {
    const std::string labels = label + ",phase=\"" + phase.name + "\"";
    expect_scraped(scraped, "tapedeck_phase_", labels, phase_fields(), phase);
    const std::string peak = "tapedeck_phase_peak_bytes{" + labels + ",place=";
    EXPECT_EQ(scraped.at(peak + "\"host\",tape=\"scratch\"}"), phase.host.scratch);
    EXPECT_EQ(scraped.at(peak + "\"gpu1\",tape=\"history\"}"), phase.gpu[1].history);
  }
  EXPECT_EQ(scraped.at("tapedeck_device_memory_total_bytes{" + label + ",place=\"gpu1\"}"), 32_MiB);
  EXPECT_GT(scraped.at("tapedeck_process_rss_anon_bytes{}"), 1_MiB);
}

}  // namespace
}  // namespace tapedeck::tests
