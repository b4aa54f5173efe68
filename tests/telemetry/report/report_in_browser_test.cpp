// SPDX-License-Identifier: Apache-2.0
// Tests the report in a browser.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/amounts.hpp"
#include "base/printable.hpp"
#include "layout/stat_walk.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "tapedeck/telemetry/report/advice.hpp"
#include "tapedeck/telemetry/report/report.hpp"
#include "telemetry/browser.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Runs a script if a page does not escape it in text, in an attribute or in a script.
constexpr const char* kHostile =
    "x</script><script>window.ran=1</script>{{&style}}<img src=http://a.org/ onerror=ran=1>"
    "\" onfocus='ran=1' autofocus &lt;b>";

constexpr std::size_t kPasses = 29;  // in each phase

/// A recording of a layout with talks on the host and on two devices.
Recording busy_recording(BusyLayout& busy, const char* name) {
  Recorder recorder(busy.layout, {.name = name});
  Phases phases(busy.layout, &recorder);
  for (const char* const phase : {"load", kHostile, "decode"}) {
    const PhaseScope scope(phases, phase);
    for (std::size_t pass = 1; pass <= kPasses; ++pass) {
      (void)busy.layout.scratch().take(pass * 10'000);
      busy.layout.clear_pass();
      recorder.pass();
    }
  }
  Recording recording = recorder.recording();
  // One pass per millisecond: real passes may share a microsecond.
  const std::size_t words = recording.words.size() / recording.samples();
  for (std::size_t i = 0; i < recording.samples(); ++i) recording.words[i * words] = 1000 * (i + 1);
  for (std::size_t i = 0; i < recording.marks.size(); ++i) {
    recording.marks[i].at = (i + 1) / 2 * kPasses * 1000 + (i % 2 == 0 ? 500 : 400);
  }
  return recording;
}

class ReportInBrowser : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_browser())
      GTEST_SKIP() << "Chromium is not installed (Debian: chromium, chromium-driver)";
  }
  /// Opens a page. It is complete at once, since it loads nothing else.
  void open(const Browser& browser, const std::string& page) const {
    browser.open("file://" + folder_.write("report.html", page).string());
  }
  /// Takes a screenshot; TAPEDECK_PICTURES=FOLDER keeps it.
  void take_picture(const Browser& browser, const std::string& name) const {
    const char* const folder = std::getenv("TAPEDECK_PICTURES");
    const std::string path = (folder != nullptr ? folder : folder_.path().string()) + "/" + name;
    browser.take_picture(path);
    EXPECT_EQ(text_of(path).substr(1, 3), "PNG");
  }

  TempFolder folder_;
};

/// Compares the value and the text of each figure, by its name in the page.
void expect_figures(const Browser& browser, const Recording& recording) {
  const json shown = browser.run(
      "const all = {}; for (const e of document.querySelectorAll('[data-figure]'))"
      " all[e.dataset.figure] = [e.dataset.value, e.textContent]; return all;");
  const Stat stat = recording.sample(recording.samples() - 1).stat;
  internal::for_each_list(stat, stat.gpus, [&](const auto& of, const auto& fields, const auto& in) {
    // The page leaves out empty tapes. It shows only some of the layout's own figures, checked
    // below.
    if (!of.place || (of.tape && internal::tape_of(stat, *of.place, *of.tape).reserved == 0))
      return;
    for (const auto& field : fields) {
      const std::optional<std::uint64_t> value = field.known(in);
      json expected = {"", "unknown"};
      if (value) expected = {std::to_string(*value), internal::value_text(field.unit, *value)};
      EXPECT_EQ(shown.value(to_string(of) + "." + field.name, json()), expected)
          << to_string(of) << ' ' << field.name;
    }
  });
  EXPECT_EQ(shown["layout.passes"][1], std::to_string(stat.passes));
  EXPECT_EQ(shown["layout.conversations"][1], std::to_string(stat.conversations));
}

TEST_F(ReportInBrowser, ShowsTheFiguresOfTheRecordingAndUsesNoNetwork) {
  const Browser browser;
  BusyLayout busy;
  const Recording recording = busy_recording(busy, "llama-3.2-1b.Q8_0.gguf");
  browser.look(1280, 900, false);
  open(browser, report_html(recording));
  EXPECT_THAT(browser.console(), IsEmpty());
  EXPECT_THAT(browser.requests(), ElementsAre("file://" + (folder_ / "report.html").string()));
  EXPECT_EQ(browser.run("return document.querySelector('h1').textContent"), recording.layout);
  expect_figures(browser, recording);

  const Advice advice = advise(recording);
  const json items =
      browser.run("return [...document.querySelectorAll('#advice li')].map(e => e.textContent)");
  ASSERT_EQ(items.size(), 1 + advice.tapes.size());
  for (std::size_t i = 0; i < advice.tapes.size(); ++i) {
    EXPECT_EQ(items[1 + i], advice.tapes[i].text);
  }
  EXPECT_EQ(browser.run("return document.querySelectorAll('#timeline figure.chart').length"),
            advice.tapes.size());
  // The browser accepts the style sheet by its hash.
  EXPECT_EQ(browser.run("return getComputedStyle(document.querySelector('.wide')).overflowX"),
            "auto");
}

TEST_F(ReportInBrowser, ShowsTheValuesAtThePointerAndTheKeyboardCursor) {
  const Browser browser;
  BusyLayout busy;
  const Recording recording = busy_recording(busy, "chat");
  open(browser, report_html(recording));
  const auto expected = [&](std::size_t i, const char* phase) {
    const RecordedSample sample = recording.sample(i);
    return internal::time_text(sample.at - recording.marks[0].at) + ", " + phase + "\nin use " +
           to_iec(sample.peaks.scratch) + "\ncommitted " + to_iec(sample.stat.scratch.committed) +
           "\npeak " + to_iec(sample.stat.scratch.peak);
  };
  const std::size_t last = recording.samples() - 1;
  EXPECT_EQ(
      browser.run("const figure = document.querySelectorAll('figure.chart')[1];"
                  "figure.focus();"
                  "return ['ArrowRight', 'ArrowRight', 'PageDown', 'ArrowLeft', 'End', 'Home',"
                  " 'Escape'].map(key => {"
                  "  figure.dispatchEvent(new KeyboardEvent('keydown', {key: key}));"
                  "  return figure.querySelector('output').textContent; });"),
      json({expected(0, "load"), expected(1, "load"), expected(21, "load"), expected(20, "load"),
            expected(last, "decode"), expected(0, "load"), ""}));
  // To the left of the pointer, within the plot, and with the cursor in every chart.
  EXPECT_EQ(browser.run("const box = e => e.getBoundingClientRect();"
                        "const figure = document.querySelectorAll('figure.chart')[1];"
                        "const svg = figure.querySelector('svg');"
                        "svg.dispatchEvent(new PointerEvent('pointermove',"
                        " {clientX: box(svg).right - 1}));"
                        "const output = figure.querySelector('output');"
                        "const shown = box(output);"
                        "const plot = box(figure.querySelector('.plot'));"
                        "const lines = document.querySelectorAll('.cursor:not([d=\"\"])');"
                        "return [output.textContent,"
                        " shown.left > plot.left && shown.right < plot.right,"
                        " lines.length == document.querySelectorAll('figure.chart').length];"),
            json({expected(last, "decode"), true, true}));
  EXPECT_THAT(browser.console(), IsEmpty());
}

TEST_F(ReportInBrowser, ShowsHostileNamesAndRunsNothing) {
  const Browser browser;
  BusyLayout busy;
  Recording recording = busy_recording(busy, kHostile);
  recording.run = {.began = 0, .host = kHostile, .model = kHostile, .command = kHostile};
  for (RecordedRegion& region : recording.regions) region.name = kHostile;
  for (std::uint64_t& word : recording.words) word = word % 7 == 0 ? UINT64_MAX : word;
  open(browser, report_html(recording));
  EXPECT_EQ(browser.run("return window.ran === undefined"), true);
  EXPECT_THAT(browser.console(), IsEmpty());
  EXPECT_THAT(browser.requests(), ElementsAre(::testing::StartsWith("file:///")));
  EXPECT_EQ(browser.run("return document.scripts.length"), 2);
  EXPECT_EQ(browser.run("return document.images.length"), 0);
  const std::string start(kHostile, 30);  // a phase's name has 31 bytes
  for (const char* const where :
       {"h1", "#phases tr:nth-child(2) th", "#regions td, #regions tbody th"}) {
    const json text =
        browser.run(std::string("return document.querySelector('") + where + "').textContent");
    EXPECT_THAT(text.get<std::string>(), ::testing::StartsWith(start)) << where;
  }
  for (const char* const id : {"host", "model", "command"}) {
    EXPECT_EQ(browser.run(std::string("return document.getElementById('") + id + "').textContent"),
              internal::printable(kHostile))
        << id;
  }
  const json phase = browser.run("return document.querySelectorAll('.phases bdi')[1].textContent");
  EXPECT_THAT(phase.get<std::string>(), ::testing::StartsWith("x</script>"));
  EXPECT_EQ(browser.run("return document.querySelector('bdi').textContent.includes('{{&style}}')"),
            true);
}

TEST_F(ReportInBrowser, FitsAPhoneAndHasADarkMode) {
  const Browser browser;
  BusyLayout busy;
  const std::string name = "llama-3.2-1b-a-name-without-a-place-to-break-it";
  Recording recording = busy_recording(busy, name.c_str());
  recording.run = {.began = 1'764'309'474,
                   .host = std::string(64, 'h'),
                   .model = "/models/" + name + ".gguf",
                   .command = "tapedeck decode /models/" + name + ".gguf -p 'Once upon a time'"};
  open(browser, report_html(recording));
  for (const bool dark : {false, true}) {
    for (const unsigned width : {1280U, 390U, 320U}) {
      browser.look(width, 900, dark);
      EXPECT_EQ(browser.run("return innerWidth"), width);
      EXPECT_LE(browser.run("return document.documentElement.scrollWidth"), width);
      take_picture(browser, std::string(dark ? "dark" : "light") + std::to_string(width) + ".png");
    }
    const std::string ground =
        browser.run("return getComputedStyle(document.body).backgroundColor");
    EXPECT_EQ(ground, dark ? "rgb(18, 22, 29)" : "rgb(255, 255, 255)");
  }
  EXPECT_THAT(browser.console(), IsEmpty());
}

TEST_F(ReportInBrowser, ShowsAnEmptyRecording) {
  const Browser browser;
  open(browser, report_html(Recording()));
  EXPECT_EQ(browser.run("return document.querySelector('#advice p').textContent"),
            "The recording has no samples to give advice on.");
  EXPECT_THAT(browser.console(), IsEmpty());
}

}  // namespace
}  // namespace tapedeck::tests
