#include <gtest/gtest.h>

#include <string>

#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "telemetry/prometheus.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

// Each figure of the list, under the name that the list gives it, with the value of `Stat`.
template <class Figures, class Value>
void expect_scraped(const Series& scraped, const std::string& prefix, const std::string& labels,
                    std::span<const StatField<Figures, Value>> fields, const Figures& figures) {
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
  expect_scraped(scraped, "tapedeck_layout_", label, layout_fields(), stat);
  const auto at = [&](const std::string& place) { return label + ",place=\"" + place + "\""; };
  const auto tapes = [&](const std::string& place, const auto& of) {
    const std::string labels = at(place);
    expect_scraped(scraped, "tapedeck_tape_", labels + ",tape=\"weights\"", tape_fields(),
                   of.weights);
    expect_scraped(scraped, "tapedeck_tape_", labels + ",tape=\"scratch\"", tape_fields(),
                   of.scratch);
    expect_scraped(scraped, "tapedeck_tape_", labels + ",tape=\"history\"", tape_fields(),
                   of.history);
  };
  tapes("host", stat);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string place = "gpu" + std::to_string(i);
    tapes(place, stat.gpu[i]);
    expect_scraped(scraped, "tapedeck_device_", at(place), device_fields(), stat.gpu[i]);
  }
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
