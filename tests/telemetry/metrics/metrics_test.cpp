#include "tapedeck/telemetry/metrics/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <cstring>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/collector.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "telemetry/every_format.hpp"
#include "telemetry/http.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

SnapshotOptions with_everything(const Phases* phases = nullptr) {
  return {.talks = true, .devices = true, .process = ProcessOptions(), .phases = phases};
}

Snapshot everything_of(const BusyLayout& busy) {
  return snapshot_of(busy.layout, "chat", with_everything(&busy.phases));
}

std::string text_of_one(const Snapshot& snapshot) { return metrics_text({&snapshot, 1}); }

std::string peak_line(const std::string& phase, const std::string& place, const std::string& tape,
                      std::uint64_t bytes) {
  return "tapedeck_phase_peak_bytes{layout=\"chat\",phase=\"" + phase + "\",place=\"" + place +
         "\",tape=\"" + tape + "\"} " + std::to_string(bytes);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(MetricsText, NamesWhatIsNoStat) {
  const BusyLayout busy;
  Snapshot now = everything_of(busy);
  now.process->host_pressure_some = 1234;
  now.process->host_stalled_some = 1'500'000;
  const std::string text = text_of_one(now);
  for (const std::string& line : std::vector<std::string>{
           "# TYPE tapedeck_tape_used_bytes gauge",
           "# HELP tapedeck_tape_clears_total Clears.",
           "# TYPE tapedeck_tape_clears_total counter",
           "tapedeck_device_memory_total_bytes{layout=\"chat\",place=\"gpu1\"} 33554432",
           "# TYPE tapedeck_phase_entered_total counter",
           "# TYPE tapedeck_phase_peak_bytes gauge",
           "tapedeck_phase_entered_total{layout=\"chat\",phase=\"prefill\"} 1",
           "tapedeck_phase_passes_total{layout=\"chat\",phase=\"talk\"} 1",
           peak_line("prefill", "host", "scratch", 10'048),
           peak_line("talk", "gpu0", "weights", 2_MiB),
           "tapedeck_process_host_pressure_some_ratio 0.1234",
           "tapedeck_process_host_stalled_some_seconds_total 1.5",
       }) {
    EXPECT_THAT(text, HasSubstr(line + "\n")) << text;
  }
}

struct AsMetrics {
  static EveryFigure told(const Stat& stat) {
    const std::regex line(
        "tapedeck_(layout|tape|device)_([a-z_]+?)(_bytes|_total|_bytes_total)?"
        "\\{layout=\"chat\"(,place=\"([a-z0-9]+)\")?(,tape=\"([a-z]+)\")?\\} ([0-9]+)");
    EveryFigure told;
    for (const std::string& one : lines_of(text_of_one({.layout = "chat", .stat = stat}))) {
      if (one.starts_with("# ")) continue;
      std::smatch parts;
      EXPECT_TRUE(std::regex_match(one, parts, line)) << one;
      std::string name = parts[1] == "layout" ? "layout." : parts.str(5) + ".";
      if (parts[7].matched) name += parts.str(7) + ".";
      EXPECT_TRUE(told.emplace(name + parts.str(2), std::stoull(parts[8])).second) << one;
    }
    return told;
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Prometheus, EveryFormat, AsMetrics);

// A name, labels from a short list, a number; and no series twice.
TEST(MetricsText, HasOneLineForEachSeries) {
  const BusyLayout busy;
  const std::string text = text_of_one(everything_of(busy));
  const std::regex line(
      "(tapedeck_[a-z_]+(\\{layout=\"chat\"(,phase=\"(talk|prefill)\")?(,place=\"(host|gpu[01])\")?"
      "(,tape=\"(weights|scratch|history)\")?\\})?) [0-9.e+-]+");
  std::set<std::string> all;
  for (const std::string& one : lines_of(text)) {
    if (one.starts_with("# ")) continue;
    std::smatch parts;
    ASSERT_TRUE(std::regex_match(one, parts, line)) << one;
    EXPECT_TRUE(all.insert(parts[1]).second) << one;
  }
  std::size_t known = 0;
  const ProcessFigures process = process_figures();
  for (const ProcessField& field : process_fields()) known += field.of(process) ? 1U : 0U;
  EXPECT_EQ(all.size(), 9 * tape_fields().size() + layout_fields().size() +
                            2 * (device_fields().size() + device_memory_fields().size()) +
                            2 * (phase_fields().size() + 9) + known);
}

TEST(MetricsText, LeavesOutWhatIsUnknown) {
  Snapshot now;
  now.process = ProcessFigures{.rss_anon = 5};
  now.stat.gpus = 1;
  now.devices = {{.label = "gone"}};
  const std::string text = text_of_one(now);
  EXPECT_THAT(text, HasSubstr("\ntapedeck_process_rss_anon_bytes 5\n"));
  EXPECT_THAT(text, Not(HasSubstr("rss_file")));
  EXPECT_THAT(text, Not(HasSubstr("memory_free")));
}

// As one label they would be one series, which Prometheus takes once.
TEST(MetricsText, HasTheFirstOfPhasesOfOneLabel) {
  Snapshot now;
  now.layout = "chat";
  now.phases = {{.name = "\xff", .times = 1}, {.name = "\xfe", .times = 2}, {.times = 3}};
  const std::string text = text_of_one(now);
  EXPECT_THAT(text,
              HasSubstr("tapedeck_phase_entered_total{layout=\"chat\",phase=\"\xEF\xBF\xBD\"} "
                        "1\ntapedeck_phase_entered_total{layout=\"chat\",phase=\"\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("} 2\n")));
}

TEST(MetricsText, HasEachFamilyOnceForSeveralLayouts) {
  std::array<Snapshot, 2> both;
  both[0].layout = "a";
  both[1].layout = "b";
  both[0].stat.passes = 3;
  both[1].stat.passes = 4;
  both[1].process = ProcessFigures{.rss_anon = 5};
  const std::string text = metrics_text(both);
  EXPECT_THAT(text, HasSubstr("# TYPE tapedeck_layout_passes_total counter\n"
                              "tapedeck_layout_passes_total{layout=\"a\"} 3\n"
                              "tapedeck_layout_passes_total{layout=\"b\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("tapedeck_process_rss_anon_bytes 5\n"));
  std::set<std::string> types;
  for (const std::string& line : lines_of(text)) {
    EXPECT_TRUE(!line.starts_with("# TYPE") || types.insert(line).second) << line;
  }
}

TEST(MetricsText, RefusesOneNameForTwo) {
  std::array<Snapshot, 2> both;
  EXPECT_THROW(static_cast<void>(metrics_text(both)), InvalidArgument);
  both[0].layout = "\xff";  // both are shown as U+FFFD
  both[1].layout = "\xfe";
  EXPECT_THROW(static_cast<void>(metrics_text(both)), InvalidArgument);
  both[1].layout = "a";
  EXPECT_NO_THROW(static_cast<void>(metrics_text(both)));
}

TEST(LayoutCollector, RefusesLayoutsItCannotTellApart) {
  const Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  EXPECT_THROW(LayoutCollector({{&layout, "a"}, {&layout, "a"}}), InvalidArgument);
  EXPECT_THROW(LayoutCollector({{nullptr, "a"}}), InvalidArgument);
  EXPECT_NO_THROW(LayoutCollector({{&layout, "a"}, {&layout, "b"}}));
}

TEST(LayoutCollector, TellsThePhasesOfEachLayout) {
  const LayoutSizes sizes = {.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB};
  Layout first(sizes);
  Layout second(sizes);
  const Layout third(sizes);
  Phases of_first(first);
  Phases of_second(second);
  { const PhaseScope load(of_first, "load"); }
  for (int turn = 0; turn < 2; ++turn) {
    const PhaseScope decode(of_second, "decode");
  }
  const LayoutCollector collector(
      {{&first, "first", &of_first}, {&second, "second", &of_second}, {&third, "third"}});
  const std::string text = prometheus::TextSerializer().Serialize(collector.Collect());
  EXPECT_THAT(text, HasSubstr("# TYPE tapedeck_phase_entered_total counter\n"
                              "tapedeck_phase_entered_total{layout=\"first\",phase=\"load\"} 1\n"
                              "tapedeck_phase_entered_total{layout=\"second\",phase=\"decode\"} 2\n"
                              "# HELP"));
}

TEST(LayoutCollector, TellsAtEachScrapeWhatIsThen) {
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const LayoutCollector collector({{&layout, "chat"}});
  const auto passes = [&] {
    for (const prometheus::MetricFamily& family : collector.Collect()) {
      if (family.name == "tapedeck_layout_passes_total") return family.metric[0].counter.value;
    }
    return -1.0;
  };
  EXPECT_EQ(passes(), 0);
  layout.clear_pass();
  EXPECT_EQ(passes(), 1);
}

/// promtool, which Prometheus comes with.
class Promtool : public ::testing::Test {
 protected:
  void SetUp() override {
    if (program_.empty()) GTEST_SKIP() << "there is no promtool (Debian: prometheus)";
  }
  [[nodiscard]] Said check(const std::string& text) const {
    const auto file = folder_.write("metrics", text);
    return shell(program_ + " check metrics <" + file.string());
  }

  std::string program_ = prometheus_program("promtool");
  TempFolder folder_;
};

TEST_F(Promtool, HasNoWarningForUs) {
  const BusyLayout busy;
  Snapshot now = everything_of(busy);
  std::array<ProcessFigures::Figure, sizeof(ProcessFigures) / sizeof(ProcessFigures::Figure)> all;
  all.fill(5);  // none is unknown
  std::memcpy(static_cast<void*>(&*now.process), all.data(), sizeof all);
  const Said said = check(text_of_one(now));
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(said.text, "");
}

TEST_F(Promtool, HasNoWarningForAServer) {
  const BusyLayout busy;
  const MetricsServer server({{&busy.layout, "chat", &busy.phases}}, ":0", with_everything());
  const Said said = check(http_get(port_of(server.address()), "/metrics"));
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(said.text, "");
}

TEST_F(Promtool, HasWarningsForOthers) {
  EXPECT_NE(check("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n").exit_code, 0);
}

TEST_F(Promtool, StandsAnyName) {
  for (const std::string& name :
       {std::string("\""), std::string("\\"), std::string("a\nb\tc"), std::string("\0x", 2),
        std::string("\xff\xfe"), std::string("\xe2\x82"), std::string("日本"),
        std::string("a\",b=\"c")}) {
    Snapshot now;
    now.layout = name;
    now.phases = {{.name = name}};
    const Said said = check(text_of_one(now));
    EXPECT_EQ(said.exit_code, 0) << name;
    EXPECT_EQ(said.text, "") << name;
  }
}

}  // namespace
}  // namespace tapedeck::tests
