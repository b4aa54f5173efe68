// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/report/report.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "telemetry/report/text.hpp"
#include "telemetry/report/timeline.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace report = internal::report;
namespace {

// The test vectors of RFC 4648, in hexadecimal digits.
TEST(ReportText, WritesHashesAsBrowsersDo) {
  EXPECT_EQ(report::base64_of_hex(""), "");
  EXPECT_EQ(report::base64_of_hex("66"), "Zg==");
  EXPECT_EQ(report::base64_of_hex("666f"), "Zm8=");
  EXPECT_EQ(report::base64_of_hex("666f6f"), "Zm9v");
  EXPECT_EQ(report::base64_of_hex("666f6f626172"), "Zm9vYmFy");
  EXPECT_EQ(report::base64_of_hex("fbff"), "+/8=");
}

TEST(ReportText, WritesDatesInUtc) {
  EXPECT_EQ(report::DateText(0).for_people(), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(report::DateText(1'709'251'199).for_people(), "2024-02-29 23:59:59 UTC");
  EXPECT_EQ(report::DateText(1'764'309'474).for_browsers(), "2025-11-28T05:57:54Z");
  EXPECT_EQ(report::DateText(kLatestBeginning).for_people(), "9999-12-31 23:59:59 UTC");
}

/// The recording with the times of its samples replaced, so that they do not depend on this
/// machine.
Recording recording_at(const Recorder& recorder, std::uint64_t (*at)(std::uint64_t sample)) {
  Recording recording = recorder.recording();
  const std::size_t words = recording.words.size() / recording.samples();
  for (std::size_t i = 0; i < recording.samples(); ++i) recording.words[i * words] = at(i);
  return recording;
}

TEST(ReportTimeline, ShowsTheMaximumOfManySamples) {
  Layout layout(kSizes);
  Recorder recorder(layout, {.samples = 10'000});
  for (std::size_t pass = 0; pass < 5000; ++pass) {
    (void)layout.scratch().take(pass == 2345 ? 3_MiB : 64);
    layout.clear_pass();
    recorder.pass();
  }
  const std::vector<report::Chart> charts =
      report::charts_of(recording_at(recorder, [](std::uint64_t i) { return 1000 * i; }));
  ASSERT_EQ(charts.size(), 3U);
  const report::Chart& scratch = charts[1];
  EXPECT_EQ(scratch.tape, TapeKind::scratch);
  EXPECT_EQ(scratch.columns.size(), report::kMostColumns);
  EXPECT_EQ(scratch.columns.back().at, 4'999'000U);
  EXPECT_EQ(std::ranges::count(scratch.columns, 3_MiB, &report::Column::in_use), 1);
  EXPECT_EQ(scratch.columns[2345 * 399 / 4999].in_use, 3_MiB);
  EXPECT_EQ(scratch.top, 4_MiB);  // committed
  EXPECT_EQ(report::y(scratch, 0), report::kHeight);
  EXPECT_EQ(report::y(scratch, 4_MiB), 0U);
  EXPECT_EQ(report::y(scratch, UINT64_MAX), 0U);
}

TEST(ReportTimeline, DrawsStepsFromSampleToSample) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  recorder.sample();
  for (const std::size_t mib : {1U, 4U, 2U}) {
    (void)layout.scratch().take(mib * 1_MiB);
    layout.clear_pass();
    recorder.pass();
  }
  const report::Chart scratch = report::charts_of(
      recording_at(recorder, [](std::uint64_t i) { return 5'000'000 + 1000 * i * i; }))[1];
  EXPECT_EQ(scratch.in_use_area, "M0 100V100H0V75H111V0H444V50H1000V100H0Z");
  EXPECT_EQ(scratch.peak_line, "M0 100V100H0V75H111V0H444V0H1000");
}

TEST(ReportTimeline, GivesASingleMomentSomeWidth) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  recorder.sample();
  Recording recording = recorder.recording();
  for (const std::uint64_t at : {std::uint64_t{0}, UINT64_MAX}) {
    recording.words[0] = at;
    const report::Span span = report::span_of(recording);
    EXPECT_EQ(span.end - span.begin, 1U);
    EXPECT_EQ(report::charts_of(recording).size(), 3U);
  }
  EXPECT_TRUE(report::charts_of(Recording()).empty());
}

TEST(ReportTimeline, FillsAHistoryWithTokens) {
  Plan plan;
  plan.talks = 2;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 4096, 1024));
  plan.history.append(cache_region("layers.1.k", RegionRole::window, 128, 1024));
  Layout layout(plan);
  Recorder recorder(layout);
  for (int i = 0; i < 3; ++i) {
    layout.talk(0).advance(100);
    recorder.sample();
  }
  layout.clear_talk(0);
  recorder.sample();
  const report::Chart history = report::charts_of(recorder.recording()).back();
  ASSERT_EQ(history.columns.size(), 4U);
  EXPECT_EQ(history.columns[0].in_use, 200_KiB);
  EXPECT_EQ(history.columns[2].in_use, 300_KiB + 128_KiB);
  // The maximum since the sample before counts.
  EXPECT_EQ(history.columns[3].in_use, history.columns[2].in_use);
  EXPECT_EQ(layout.stat().history.used, 0U);
  EXPECT_EQ(history.columns[3].peak, history.columns[2].in_use);
}

TEST(ReportTimeline, CountsAPlannedHistoryAsUsedIfTokensAreNotCounted) {
  Plan plan;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 4096, 1024));
  Layout layout(plan);
  Recorder recorder(layout);
  recorder.sample();
  const report::Chart history = report::charts_of(recorder.recording()).back();
  EXPECT_EQ(history.columns[0].in_use, 4_MiB);
}

TEST(ReportPhases, HaveNoMoreBandsThanAreVisible) {
  std::vector<RecordedPhase> phases;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    phases.push_back(
        {.name = i % 2 == 0 ? "decode" : "sample", .begin = 10 * i, .end = 10 * i + 9});
  }
  const report::Span span = {.begin = 0, .end = 1'000'000};
  const report::PhasesPicture picture = report::picture(phases, span);
  EXPECT_LE(picture.bands.size(), report::kWidth);
  EXPECT_GE(picture.bands.size(), 1U);
  ASSERT_EQ(picture.names.size(), 2U);
  EXPECT_EQ(picture.names[1].times, 50'000U);
  EXPECT_EQ(picture.names[1].total, 450'000U);
}

TEST(ReportPhases, HaveALimitedNumberOfNames) {
  std::vector<RecordedPhase> phases;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    phases.push_back({.name = std::to_string(i), .begin = i, .end = UINT64_MAX});
  }
  const report::PhasesPicture picture = report::picture(phases, {.begin = 0, .end = UINT64_MAX});
  ASSERT_EQ(picture.names.size(), report::kMostNames + 1);
  EXPECT_EQ(picture.names.back().name, "...");
  EXPECT_EQ(picture.names.back().times, 1000 - report::kMostNames);
  EXPECT_EQ(picture.names.back().total, UINT64_MAX);
}

TEST(ReportPhases, AreBesideOrBelowEachOther) {
  const report::PhasesPicture picture =
      report::picture({{.name = "prefill", .begin = 0, .end = 400, .depth = 0},
                       {.name = "attention", .begin = 100, .end = 200, .depth = 1},
                       {.name = "decode", .begin = 500, .end = 900, .depth = 0},
                       {.name = "deep", .begin = 600, .end = 700, .depth = report::kDepths}},
                      {.begin = 0, .end = 1000});
  ASSERT_EQ(picture.bands.size(), 3U);
  EXPECT_EQ(picture.bands[1].x, 100U);
  EXPECT_EQ(picture.bands[1].width, 100U);
  EXPECT_EQ(picture.bands[1].depth, 1U);
  EXPECT_EQ(picture.bands[2].x, 500U);
  EXPECT_EQ(picture.names.size(), 4U);  // the table has the deep one, too
}

/// The element of a page that has this id, with its tags.
std::string element_of(const std::string& page, const std::string& id) {
  const std::size_t begin = page.find("id=\"" + id + "\"");
  return begin == std::string::npos ? "" : page.substr(begin, page.find('\n', begin) - begin);
}

TEST(Report, SaysWhatWasRecorded) {
  const Recording recording = {.run = {.began = 1'764'309'474,
                                       .host = "h<b>",
                                       .model = "m&\"'{{layout}}",
                                       .command = "tapedeck </code><script>\x1b[2J"}};
  const std::string page = report_html(recording);
  EXPECT_EQ(element_of(page, "date"),
            "id=\"date\"><time datetime=\"2025-11-28T05:57:54Z\">2025-11-28 05:57:54 UTC</time>"
            "</dd></div>");
  EXPECT_EQ(element_of(page, "host"), "id=\"host\"><bdi>h&lt;b&gt;</bdi></dd></div>");
  EXPECT_EQ(element_of(page, "model"),
            "id=\"model\"><bdi>m&amp;&quot;&apos;{{layout}}</bdi></dd></div>");
  EXPECT_EQ(element_of(page, "command"),
            "id=\"command\"><code><bdi>tapedeck &lt;/code&gt;&lt;script&gt;\\x1b[2J</bdi></code>"
            "</dd></div>");
}

TEST(Report, ShowsNothingOfWhatIsUnknown) {
  const std::string page = report_html(Recording());
  for (const char* const id : {"date", "host", "model", "command"}) {
    EXPECT_EQ(element_of(page, id), "") << id;
  }
}

TEST(Report, HasTheValuesThatTheChartsShow) {
  Layout layout(kSizes);
  Recorder recorder(layout);
  Phases phases(layout, &recorder);
  for (const std::size_t mib : {3U, 1U}) {
    const PhaseScope phase(phases, mib == 3 ? "prefill" : "</script>");
    (void)layout.scratch().take(mib * 1_MiB);
    layout.clear_pass();
    recorder.pass();
  }
  Recording recording = recording_at(recorder, [](std::uint64_t i) { return 10'000 + 30'000 * i; });
  for (std::size_t i = 0; i < 4; ++i) recording.marks[i].at = 20'000 * i;
  const std::string page = report_html(recording);
  const std::string begin = "<script id=\"data\" type=\"application/json\">";
  const std::size_t at = page.find(begin) + begin.size();
  const auto data = nlohmann::json::parse(page.substr(at, page.find("</script>", at) - at));
  EXPECT_EQ(data["x"], nlohmann::json({166, 666}));
  EXPECT_EQ(data["moment"], nlohmann::json({"10.0 ms, prefill", "40.0 ms, </script>"}));
  ASSERT_EQ(data["charts"].size(), 3U);
  EXPECT_EQ(data["charts"][1]["in_use"], nlohmann::json({"3 MiB", "1 MiB"}));
  EXPECT_EQ(data["charts"][1]["committed"], nlohmann::json({"4 MiB", "4 MiB"}));
  EXPECT_EQ(data["charts"][1]["peak"], nlohmann::json({"3 MiB", "3 MiB"}));
}

// Regression: these were 0.
TEST(Report, DoesNotShowWhatIsUnknown) {
  const auto page_of = [](Layout& layout) {
    Recorder recorder(layout);
    recorder.sample();
    return report_html(recorder.recording());
  };
  const auto has = [](const std::string& page, const std::string& text) {
    return page.find(text) != std::string::npos;
  };
  const std::string of_pages = "data-figure=\"host.history.page_size\" data-value=\"";
  Layout of_sizes(kSizes);
  const std::string sizes = page_of(of_sizes);
  EXPECT_FALSE(has(sizes, "Longest conversation"));
  EXPECT_TRUE(has(sizes, of_pages) && !has(sizes, of_pages + "\">unknown<"));
  Layout of_plan(BusyLayout::plan(), {.commit = Commit::with_talks});
  const std::string plan = page_of(of_plan);
  EXPECT_TRUE(has(plan, "Longest conversation"));
  EXPECT_TRUE(has(plan, of_pages + "\">unknown<"));
}

// Any number of the missing lines may be samples, so fewer of the others may have been dropped.
TEST(Report, SaysThatItsRecordingIsCutOff) {
  struct Row {
    std::uint64_t taken;
    std::uint64_t missing;
    std::string samples;
  };
  for (const Row& row :
       {Row{.taken = 1, .missing = 0, .samples = "1"},
        Row{.taken = 5, .missing = 0, .samples = "1 (older ones that were dropped: 4)"},
        Row{.taken = 5, .missing = 3, .samples = "1 (older ones that were dropped: at least 1)"},
        Row{.taken = 4, .missing = 3, .samples = "1"}}) {
    Layout layout(kSizes);
    Recorder recorder(layout);
    recorder.sample();
    Recording recording = recorder.recording();
    recording.taken = row.taken;
    recording.missing_lines = row.missing;
    const std::string page = report_html(recording);
    EXPECT_EQ(element_of(page, "samples"), "id=\"samples\">" + row.samples + "</dd></div>");
    EXPECT_EQ(page.find("<strong>the recording lacks 3 lines of samples and marks at its end") !=
                  std::string::npos,
              row.missing == 3);
  }
}

TEST(Report, HasABoundedSizeWhateverTheTextsAre) {
  BusyLayout busy;
  Recorder recorder(busy.layout, {.name = std::string(1_MiB, '<')});
  recorder.sample();
  Recording recording = recorder.recording();
  const RecordedRegion region = {.place = Place::host(),
                                 .tape = TapeKind::weights,
                                 .name = std::string(10'000, '&'),
                                 .offset = 0,
                                 .bytes = 1_KiB};
  recording.regions.assign(5000, region);
  recording.marks.assign(5000, {.at = 0, .entered = std::string(10'000, '"')});
  const std::string long_text(1_MiB, '<');
  recording.run = {
      .began = UINT64_MAX, .host = long_text, .model = long_text, .command = long_text};
  const std::string page = report_html(recording);
  EXPECT_LT(page.size(), 2_MiB);
  EXPECT_NE(page.find("4000 more regions are not listed."), std::string::npos);
  EXPECT_EQ(page.find("<<"), std::string::npos);
}

}  // namespace
}  // namespace tapedeck::tests
