// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/metrics/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <cstring>
#include <regex>
#include <set>
#include <string>

#include "layout/stat_walk.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/collector.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "telemetry/every_figure.hpp"
#include "telemetry/http.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

constexpr LayoutSizes kSmall = {.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB};

std::string exposition_of(const Snapshot& snapshot) { return metrics_text({&snapshot, 1}); }

TEST(MetricsText, NamesWhatIsNoStat) {
  const BusyLayout busy;
  Snapshot now = busy.snapshot("chat");
  now.process->host_pressure_some = 1234;
  now.process->host_stalled_some = 1'500'000;
  const std::string text = exposition_of(now);
  EXPECT_THAT(split_lines(text),
              IsSupersetOf({"# TYPE tapedeck_tape_used_bytes gauge",
                            "# HELP tapedeck_tape_clears_total Times that the tape was cleared.",
                            "# TYPE tapedeck_tape_clears_total counter",
                            "# TYPE tapedeck_phase_entered_total counter",
                            "# TYPE tapedeck_phase_peak_bytes gauge"}));
  const std::string peak = "tapedeck_phase_peak_bytes{layout=\"chat\",phase=";
  EXPECT_THAT(series_of(text),
              IsSupersetOf(Series{
                  {"tapedeck_device_memory_total_bytes{layout=\"chat\",place=\"gpu1\"}", 32_MiB},
                  {"tapedeck_phase_entered_total{layout=\"chat\",phase=\"prefill\"}", 1},
                  {"tapedeck_phase_passes_total{layout=\"chat\",phase=\"talk\"}", 1},
                  {peak + "\"prefill\",place=\"host\",tape=\"scratch\"}", 10'048},
                  {peak + "\"talk\",place=\"gpu0\",tape=\"weights\"}", 2_MiB},
                  {"tapedeck_process_host_pressure_some_ratio", 0.1234},
                  {"tapedeck_process_host_stalled_some_seconds_total", 1.5}}));
}

struct AsMetrics {
  static EveryFigure told(const Stat& stat) {
    const std::regex series(
        "tapedeck_(layout|tape|device)_([a-z_]+?)(_bytes|_total|_bytes_total)?"
        "\\{layout=\"chat\"(,place=\"([a-z0-9]+)\")?(,tape=\"([a-z]+)\")?\\}");
    EveryFigure told;
    for (const auto& [one, value] : series_of(exposition_of({.layout = "chat", .stat = stat}))) {
      std::smatch parts;
      EXPECT_TRUE(std::regex_match(one, parts, series)) << one;
      std::string name = parts[1] == "layout" ? "layout." : parts.str(5) + ".";
      if (parts[7].matched) name += parts.str(7) + ".";
      told[name + parts.str(2)] = static_cast<std::uint64_t>(value);
    }
    return told;
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Prometheus, EveryFormat, AsMetrics);

// Each series has a name, and labels from a short list.
TEST(MetricsText, HasSeriesWithFewLabels) {
  const BusyLayout busy;
  const Snapshot now = busy.snapshot("chat");
  const Series all = series_of(exposition_of(now));
  const std::regex series(
      "tapedeck_[a-z_]+(\\{layout=\"chat\"(,phase=\"(talk|prefill)\")?(,place=\"(host|gpu[01])\")?"
      "(,tape=\"(weights|scratch|history)\")?\\})?");
  for (const auto& [name, value] : all) EXPECT_TRUE(std::regex_match(name, series)) << name;
  std::size_t known = 0;
  const auto count_known = [&known](const auto& fields, const auto& figures) {
    for (const auto& field : fields) known += field.known(figures) ? 1U : 0U;
  };
  internal::for_each_list(now.stat, now.stat.gpus,
                          [&](const auto& /*owner*/, const auto& fields, const auto& figures) {
                            count_known(fields, figures);
                          });
  count_known(process_fields(), *now.process);
  EXPECT_EQ(all.size(),
            known + 2 * device_memory_fields().size() + 2 * (phase_fields().size() + 9));
}

TEST(MetricsText, LeavesOutWhatIsUnknown) {
  Snapshot now;
  now.process = ProcessFigures{.rss_anon = 5};
  now.stat.gpus = 1;
  now.devices = {{.label = "gone"}};
  const Series all = series_of(exposition_of(now));
  EXPECT_EQ(beginning_with("tapedeck_process_", all),
            (Series{{"tapedeck_process_rss_anon_bytes", 5}}));
  EXPECT_THAT(beginning_with("tapedeck_device_memory_", all), IsEmpty());
  for (const char* const place : {"layout", "device"}) {
    for (const char* const of_talks :
         {"tokens", "room", "capacity", "longest_talk", "cleared_tokens", "history_budget"}) {
      const std::string name = std::string("tapedeck_") + place + "_" + of_talks;
      EXPECT_THAT(beginning_with(name, all), IsEmpty()) << name;
    }
  }
  EXPECT_THAT(beginning_with("tapedeck_tape_page_size", all), IsEmpty());
}

// Phases with the same label would be one series, which Prometheus accepts only once.
TEST(MetricsText, HasTheFirstOfPhasesOfOneLabel) {
  Snapshot now;
  now.layout = "chat";
  now.phases = {{.name = "\xff", .times = 1}, {.name = "\xfe", .times = 2}, {.times = 3}};
  const std::string entered = "tapedeck_phase_entered_total";
  EXPECT_EQ(beginning_with(entered, series_of(exposition_of(now))),
            (Series{{entered + "{layout=\"chat\",phase=\"\xEF\xBF\xBD\"}", 1},
                    {entered + "{layout=\"chat\",phase=\"\"}", 3}}));
}

TEST(MetricsText, HasEachFamilyOnceForSeveralLayouts) {
  std::array<Snapshot, 2> both;
  both[0].layout = "a";
  both[1].layout = "b";
  both[0].stat.passes = 3;
  both[1].stat.passes = 4;
  both[1].process = ProcessFigures{.rss_anon = 5};
  const std::string text = metrics_text(both);
  EXPECT_THAT(series_of(text),
              IsSupersetOf(Series{{"tapedeck_layout_passes_total{layout=\"a\"}", 3},
                                  {"tapedeck_layout_passes_total{layout=\"b\"}", 4},
                                  {"tapedeck_process_rss_anon_bytes", 5}}));
  std::set<std::string> types;
  for (const std::string& line : split_lines(text)) {
    EXPECT_TRUE(!line.starts_with("# TYPE") || types.insert(line).second) << line;
  }
}

TEST(MetricsText, RefusesOneNameForTwo) {
  std::array<Snapshot, 2> both;
  EXPECT_THROW(static_cast<void>(metrics_text(both)), InvalidArgument);
  both[0].layout = "\xff";  // both are displayed as U+FFFD
  both[1].layout = "\xfe";
  EXPECT_THROW(static_cast<void>(metrics_text(both)), InvalidArgument);
  both[1].layout = "a";
  EXPECT_NO_THROW(static_cast<void>(metrics_text(both)));
}

TEST(LayoutCollector, RefusesLayoutsItCannotTellApart) {
  const Layout layout(kSmall);
  EXPECT_THROW(LayoutCollector({{&layout, "a"}, {&layout, "a"}}), InvalidArgument);
  EXPECT_THROW(LayoutCollector({{nullptr, "a"}}), InvalidArgument);
  EXPECT_NO_THROW(LayoutCollector({{&layout, "a"}, {&layout, "b"}}));
}

TEST(LayoutCollector, TellsAtEachScrapeWhatIsThen) {
  Layout first(kSmall);
  Layout second(kSmall);
  const Layout third(kSmall);
  Phases of_first(first);
  Phases of_second(second);
  { const PhaseScope load(of_first, "load"); }
  const LayoutCollector collector(
      {{&first, "first", &of_first}, {&second, "second", &of_second}, {&third, "third"}});
  const auto scraped = [&](const std::string& name) {
    const std::string text = prometheus::TextSerializer().Serialize(collector.Collect());
    return beginning_with(name, series_of(text));
  };
  const std::string entered = "tapedeck_phase_entered_total{layout=";
  EXPECT_EQ(scraped(entered), (Series{{entered + "\"first\",phase=\"load\"}", 1}}));
  for (int turn = 0; turn < 2; ++turn) {
    const PhaseScope decode(of_second, "decode");
    second.clear_pass();
  }
  EXPECT_EQ(scraped(entered), (Series{{entered + "\"first\",phase=\"load\"}", 1},
                                      {entered + "\"second\",phase=\"decode\"}", 2}}));
  const std::string passes = "tapedeck_layout_passes_total{layout=";
  EXPECT_EQ(scraped(passes), (Series{{passes + "\"first\"}", 0},
                                     {passes + "\"second\"}", 2},
                                     {passes + "\"third\"}", 0}}));
}

/// promtool, a program of Prometheus.
class Promtool : public ::testing::Test {
 protected:
  void SetUp() override {
    if (program_.empty()) GTEST_SKIP() << "promtool is not installed (Debian: prometheus)";
  }
  [[nodiscard]] Said check(const std::string& text) const {
    const auto file = folder_.write("metrics", text);
    return shell(program_ + " check metrics <" + file.string());
  }
  void expect_no_warning(const std::string& text) const {
    const Said said = check(text);
    EXPECT_EQ(said.exit_code, 0) << text;
    EXPECT_EQ(said.text, "") << text;
  }

  std::string program_ = prometheus_program("promtool");
  TempFolder folder_;
};

TEST_F(Promtool, HasNoWarningForUs) {
  const BusyLayout busy;
  Snapshot now = busy.snapshot("chat");
  std::array<ProcessFigures::Figure, sizeof(ProcessFigures) / sizeof(ProcessFigures::Figure)> all;
  all.fill(5);  // so that none is unknown
  std::memcpy(static_cast<void*>(&*now.process), all.data(), sizeof all);
  expect_no_warning(exposition_of(now));
}

TEST_F(Promtool, HasNoWarningForAServer) {
  const BusyLayout busy;
  const MetricsServer server({{&busy.layout, "chat", &busy.phases}}, ":0", busy.everything());
  expect_no_warning(http_get(port_of(server.address()), "/metrics"));
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
    expect_no_warning(exposition_of(now));
  }
}

}  // namespace
}  // namespace tapedeck::tests
