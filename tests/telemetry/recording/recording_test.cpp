#include "tapedeck/telemetry/recording/recording.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/stat_fields.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "telemetry/every_figure.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;

/// A recording of a layout on the host and two devices, with phases.
class ReadRecording : public ::testing::Test {
 protected:
  ReadRecording() {
    recorder_.sample();
    for (const char* const name : {"prefill", "decode \"<&'\\\x01"}) {
      const PhaseScope phase(phases_, name);
      const PhaseScope inner(phases_, "attention");
      (void)busy_.layout.scratch().take(70'000);
      busy_.layout.clear_pass();
      recorder_.pass();
    }
    std::ostringstream out;
    recorder_.write(out);
    text_ = out.str();
    std::istringstream in(text_);
    for (std::string line; std::getline(in, line);) lines_.push_back(json::parse(line));
  }

  [[nodiscard]] Recording read(const std::string& text) const {
    return read_recording(folder_.write("recording", text));
  }
  [[nodiscard]] Recording read(const std::vector<json>& lines) const {
    std::string text;
    for (const json& line : lines) text += line.dump() + "\n";
    return read(text);
  }
  void expect_refused(const std::vector<json>& lines, const std::string& says) const {
    EXPECT_THAT(
        [&] { static_cast<void>(read(lines)); },
        Throws<FormatError>(AllOf(Property(&FormatError::what, HasSubstr(says)),
                                  Property(&FormatError::path, (folder_ / "recording").string()))));
  }

  TempFolder folder_;
  BusyLayout busy_;
  Recorder recorder_{busy_.layout, {.name = "chat </script> 日本"}};
  Phases phases_{busy_.layout, &recorder_};
  std::string text_;
  std::vector<json> lines_;
};

TEST_F(ReadRecording, IsWhatWasRecorded) {
  const Recording kept = recorder_.recording();
  const Recording read = this->read(text_);
  EXPECT_EQ(read.layout, kept.layout);
  EXPECT_EQ(read.gpus, 2U);
  EXPECT_EQ(read.taken, 3U);
  EXPECT_EQ(read.words, kept.words);
  ASSERT_EQ(read.samples(), 3U);
  const RecordedSample last = read.sample(2);
  const Stat stat = busy_.layout.stat();
  EXPECT_EQ(every_figure(last.stat), every_figure(stat));
  EXPECT_GE(last.peaks[0].scratch, 70'000U);
  EXPECT_EQ(last.peaks[2].history, stat.gpu[1].history.used);
  EXPECT_EQ(read.end(), std::max(last.at, read.marks.back().at));
}

TEST_F(ReadRecording, HasTheRegionsOfThePlan) {
  const Recording read = this->read(text_);
  ASSERT_EQ(read.regions.size(), 3U * 2);  // of the host and of each device
  EXPECT_EQ(read.regions[1].place, "host");
  EXPECT_EQ(read.regions[1].tape, "history");
  EXPECT_EQ(read.regions[1].name, "layers.0.k");
  EXPECT_EQ(read.regions[1].bytes, 1_MiB);
  EXPECT_EQ(read.regions[1].bytes_per_token, 1_KiB);
  EXPECT_EQ(read.regions[5].place, "gpu1");
}

TEST_F(ReadRecording, HasPhasesFromBeginningToEnd) {
  const std::vector<RecordedPhase> phases = read(text_).phases();
  ASSERT_EQ(phases.size(), 4U);
  EXPECT_EQ(phases[0].name, "prefill");
  EXPECT_EQ(phases[1].name, "attention");
  EXPECT_EQ(phases[2].name, "decode \"<&'\\\x01");
  EXPECT_EQ(phases[0].depth, 0U);
  EXPECT_EQ(phases[1].depth, 1U);
  EXPECT_LE(phases[0].begin, phases[1].begin);
  EXPECT_LE(phases[1].end, phases[0].end);
  EXPECT_LE(phases[0].end, phases[2].begin);
}

TEST(Recording, LeavesPhasesOpenUntilItsEnd) {
  const Recording recording = {.marks = {{.at = 5},  // of a phase that the ring has lost
                                         {.at = 10, .entered = "outer"},
                                         {.at = 20, .entered = "inner"},
                                         {.at = 30},
                                         {.at = 40, .entered = "last"}}};
  const std::vector<RecordedPhase> phases = recording.phases();
  ASSERT_EQ(phases.size(), 3U);
  EXPECT_EQ(phases[0].end, 40U);
  EXPECT_EQ(phases[1].end, 30U);
  EXPECT_EQ(phases[2].depth, 1U);
  EXPECT_EQ(Recording().end(), 0U);
}

TEST_F(ReadRecording, RefusesOneThatIsCutOffAnywhere) {
  for (std::size_t bytes = 0; bytes < text_.size(); ++bytes) {
    const bool near_an_end = text_.find('\n', bytes - std::min<std::size_t>(bytes, 2)) < bytes + 2;
    if (bytes % 17 != 0 && !near_an_end) continue;
    EXPECT_THAT([&] { static_cast<void>(read(text_.substr(0, bytes))); },
                Throws<FormatError>(Property(&FormatError::offset, bytes)));
  }
}

TEST_F(ReadRecording, RefusesAnotherVersionAndOtherFiles) {
  std::vector<json> lines = lines_;
  lines[0]["version"] = 2;
  expect_refused(lines, "byte 0: it is of version 2, and this Tapedeck reads 1");
  lines[0]["schema"] = "tapedeck.snapshot";
  expect_refused(lines, "no recording of a layout");
  expect_refused({json::object()}, "no recording of a layout");
  expect_refused({json(5)}, "no recording of a layout");
  expect_refused({lines_[0], json(5)}, "no JSON object");
  EXPECT_THROW(static_cast<void>(read(std::string("GGUF\n"))), FormatError);
  EXPECT_THROW(static_cast<void>(read(std::string("{\"schema\": \"\xff\"}\n"))), FormatError);
  EXPECT_THROW(static_cast<void>(read_recording(folder_ / "none")), SystemError);
  EXPECT_THROW(static_cast<void>(read_recording(folder_.path())), InvalidArgument);
}

TEST_F(ReadRecording, RefusesWhatIsMissing) {
  for (const char* const member : {"version", "layout", "layout_fields", "tape_fields",
                                   "device_fields", "tapes", "regions", "lines", "taken"}) {
    std::vector<json> lines = lines_;
    lines[0].erase(member);
    expect_refused(lines, member);
  }
  for (const char* const member : {"t", "layout", "tapes", "devices", "peaks"}) {
    std::vector<json> lines = lines_;
    lines[1].erase(member);
    expect_refused(lines, member);
  }
  for (const char* const member : {"place", "tape", "name", "offset", "bytes", "bytes_per_token"}) {
    std::vector<json> lines = lines_;
    lines[0]["regions"][0].erase(member);
    expect_refused(lines, member);
  }
}

TEST_F(ReadRecording, RefusesHostileFigures) {
  const auto with = [&](std::size_t line, const char* pointer, const json& value) {
    std::vector<json> lines = lines_;
    lines[line][json::json_pointer(pointer)] = value;
    return lines;
  };
  for (const json& no_number : {json(-1), json(1.5), json("1"), json(nullptr),
                                json::parse("18446744073709551616"), json::array()}) {
    expect_refused(with(1, "/t", no_number), "a time is no whole number");
    expect_refused(with(1, "/tapes/0/0", no_number), "a figure is no whole number");
    expect_refused(with(1, "/layout/0", no_number), "a figure is no whole number");
    expect_refused(with(1, "/peaks/0", no_number), "a peak is no whole number");
    expect_refused(with(0, "/lines", no_number), "the number of lines is no whole number");
    expect_refused(with(0, "/regions/0/bytes", no_number), "size is no whole number");
  }
  expect_refused(with(2, "/t", UINT64_MAX), "a time that lies before the last");
  expect_refused(with(0, "/lines", UINT64_MAX),
                 "11 lines after the first, of 18446744073709551615");
  expect_refused(with(0, "/lines", 10), "more lines than it says");
  expect_refused(with(1, "/tapes/0", json::array()), "the figures has 0 entries");
  expect_refused(with(1, "/peaks", json::array({1, 2})), "the peaks has 2 entries");
  expect_refused(with(1, "/tapes", 7), "the tapes is no list");
  expect_refused(with(0, "/tapes", json::array()), "0 tapes");
  expect_refused(with(0, "/tapes/3/0", "gpu7"), "tape 3 is not the weights of gpu0");
  expect_refused(with(0, "/regions/0/tape", "heap"), "of a tape that there is not");
  expect_refused(with(0, "/regions/0/place", "gpu2"), "of a tape that there is not");
  expect_refused(with(0, "/regions/0/offset", UINT64_MAX), "ends beyond 64 bits");
  expect_refused(with(0, "/regions/0", 1), "a region that is no object");
  expect_refused(with(1, "/deep", json::parse("[[[[[[[[1]]]]]]]]")), "nested too deep");
  EXPECT_NO_THROW(static_cast<void>(read(with(1, "/text", "[[[[[[[[[{\\\"[["))));
  expect_refused(with(0, "/tape_fields/0", 1), "tape_fields is no text");
  json tapes = json::array();
  for (std::size_t i = 0; i < 3 * (2 + kMostGpus); ++i) tapes.push_back({"host", "weights"});
  expect_refused(with(0, "/tapes", tapes), "30 tapes");
}

// Of a Tapedeck that has one more, and lacks one.
TEST_F(ReadRecording, TakesFiguresByTheirNames) {
  std::vector<json> lines = lines_;
  json& names = lines[0]["tape_fields"];
  const auto used =
      static_cast<std::size_t>(std::find(names.begin(), names.end(), "used") - names.begin());
  std::swap(names[used], names[used + 1]);
  names.push_back("temperature");
  names.erase(std::find(names.begin(), names.end(), "clears"));
  for (json& line : lines) {
    if (!line.contains("peaks")) continue;
    for (json& tape : line["tapes"]) {
      std::swap(tape[used], tape[used + 1]);
      tape.erase(11);
      tape.push_back(UINT64_MAX);
    }
  }
  const RecordedSample last = read(lines).sample(2);
  const Stat stat = busy_.layout.stat();
  EXPECT_EQ(last.stat.history.used, stat.history.used);
  EXPECT_EQ(last.stat.history.reserved, stat.history.reserved);
  EXPECT_EQ(last.stat.scratch.refused, stat.scratch.refused);
  EXPECT_EQ(last.stat.scratch.clears, 0U);
  EXPECT_GT(stat.scratch.clears, 0U);
}

}  // namespace
}  // namespace tapedeck::tests
