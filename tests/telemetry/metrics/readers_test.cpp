#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tapedeck/telemetry/metrics/collector.hpp"
#include "tapedeck/telemetry/snapshot/json.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using Json = nlohmann::json;

/// Passes, talks that grow and end, takes of odd sizes, some of which find no room.
void work(Layout& layout, const std::atomic<bool>& stop) {
  for (std::uint64_t pass = 0; !stop; ++pass) {
    layout.talk(pass % 2).prepare(1);
    layout.talk(pass % 2).advance();
    layout.gpu(1).talk(pass % 2).prepare(1);
    layout.gpu(1).talk(pass % 2).advance();
    (void)layout.scratch().try_take(pass % 5000);
    (void)layout.scratch().try_take(pass * 1000 % 2_MiB);
    layout.clear_pass();
    if (pass % 100 == 99) layout.clear_talk(pass / 100 % 2);
  }
}

void expect_whole(const std::string& what, double used, double peak, double reserved) {
  EXPECT_LE(used, peak) << what;
  EXPECT_LE(peak, reserved) << what;
}

void read_json(const Layout& layout) {
  const Json json = Json::parse(to_json(snapshot_of(layout, "chat", {.talks = true})));
  for (const char* const list : {"tapes", "talks"}) {
    for (const Json& tape : json.at(list)) {
      expect_whole(tape.dump(), tape.at("used"), tape.at("peak"), tape.at("reserved"));
    }
  }
}

void read_metrics(const LayoutCollector& collector) {
  std::map<std::string, std::map<std::string, double>> tapes;  // by labels, then by name
  for (const prometheus::MetricFamily& family : collector.Collect()) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      if (metric.label.size() != 3) continue;
      tapes[metric.label[1].value + metric.label[2].value][family.name] = metric.gauge.value;
    }
  }
  EXPECT_EQ(tapes.size(), 9U);
  for (auto& [labels, of] : tapes) {
    expect_whole(labels, of.at("tapedeck_tape_used_bytes"), of.at("tapedeck_tape_peak_bytes"),
                 of.at("tapedeck_tape_reserved_bytes"));
  }
}

TEST(Readers, SeeWholeFiguresWhileAWriterWorks) {
  constexpr int kRounds = 300;
  BusyLayout busy;
  const LayoutCollector collector({{&busy.layout, "chat"}}, {.devices = true});
  std::atomic<bool> stop{false};
  std::thread writer([&] { work(busy.layout, stop); });
  std::thread scraper([&] {
    for (int i = 0; i < kRounds; ++i) read_metrics(collector);
  });
  for (int i = 0; i < kRounds; ++i) read_json(busy.layout);
  scraper.join();
  stop = true;
  writer.join();
  EXPECT_GT(busy.layout.stat().passes, 1U);
  EXPECT_GT(busy.layout.stat().scratch.refused, 1U);
}

}  // namespace
}  // namespace tapedeck::tests
