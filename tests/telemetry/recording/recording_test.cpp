// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/recording.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/thrown.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "telemetry/every_figure.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;

/// A recording of a layout on the host and on two devices, with phases.
class ReadRecording : public ::testing::Test {
 protected:
  using enum FormatFault;

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
  /// Returns the recording with another value at one place of one line.
  [[nodiscard]] std::vector<json> with_value(std::size_t line, const char* pointer,
                                             const json& value) const {
    std::vector<json> lines = lines_;
    lines[line][json::json_pointer(pointer)] = value;
    return lines;
  }
  /// Expects a refusal at the beginning of that line; with the number after the last line, at the
  /// end.
  void expect_refused(const std::vector<json>& lines, std::size_t line, const std::string& field,
                      FormatFault fault) const {
    const auto error = thrown<FormatError>([&] { static_cast<void>(read(lines)); });
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < line; ++i) offset += lines[i].dump().size() + 1;
    EXPECT_EQ(error.offset(), offset) << error.what();
    EXPECT_EQ(error.path(), (folder_ / "recording").string());
    EXPECT_EQ(error.field(), field) << error.what();
    EXPECT_EQ(error.fault(), fault) << error.what();
  }

  TempFolder folder_;
  BusyLayout busy_;
  Recorder recorder_{busy_.layout, {.name = "chat </script> 日本"}};
  Phases phases_{busy_.layout, &recorder_};
  std::string text_;
  std::vector<json> lines_;
};

TEST_F(ReadRecording, BeginsWithALineThatSaysWhatItIs) {
  EXPECT_EQ(lines_[0]["schema"], "tapedeck.recording");
  EXPECT_EQ(lines_[0]["version"], kRecordingVersion);
  EXPECT_EQ(lines_[0]["layout"], "chat </script> 日本");
  EXPECT_EQ(lines_[0]["gpus"], 2);
  EXPECT_EQ(lines_[0]["lines"], lines_.size() - 1);
  EXPECT_EQ(lines_[0]["taken"], 3);
}

TEST_F(ReadRecording, IsWhatWasRecorded) {
  const Recording read = this->read(text_);
  std::ostringstream again;
  read.write(again);
  EXPECT_EQ(again.str(), text_);
  ASSERT_EQ(read.samples(), 3U);
  const RecordedSample last = read.sample(2);
  const Stat stat = busy_.layout.stat();
  EXPECT_EQ(every_figure(last.stat), every_figure(stat));
  EXPECT_GE(last.peaks.scratch, 70'000U);
  EXPECT_EQ(last.peaks.gpu[1].history, stat.gpu[1].history.used);
  EXPECT_EQ(read.end(), std::max(last.at, read.marks.back().at));
}

TEST_F(ReadRecording, HasTheRunAsFarAsItIsKnown) {
  Recording recording;
  recording.run = {
      .began = 1'764'309'474, .host = "h", .model = "m", .command = "</script> -p 'é'"};
  const auto written = [](const Recording& of) {
    std::ostringstream out;
    of.write(out);
    return out.str();
  };
  EXPECT_EQ(json::parse(written(recording))["run"], json({{"began", 1'764'309'474},
                                                          {"host", "h"},
                                                          {"model", "m"},
                                                          {"command", "</script> -p 'é'"}}));
  const RecordedRun run = read(written(recording)).run;
  EXPECT_EQ(run.began, recording.run.began);
  EXPECT_EQ(run.host, "h");
  EXPECT_EQ(run.model, "m");
  EXPECT_EQ(run.command, recording.run.command);
  EXPECT_EQ(json::parse(written(Recording()))["run"], json::object());
}

TEST_F(ReadRecording, KnowsNoRunOfAnOlderRecording) {
  std::vector<json> older = lines_;
  ASSERT_EQ(older[0].erase("run"), 1U);
  const Recording recording = read(older);
  EXPECT_EQ(recording.samples(), 3U);
  EXPECT_EQ(recording.run.began, std::nullopt);
  EXPECT_EQ(recording.run.host + recording.run.model + recording.run.command, "");
}

TEST_F(ReadRecording, HasAReplacementForWhatIsNoText) {
  std::ostringstream out;
  Recording{.layout = "\xff\xfe", .marks = {{.at = 1, .entered = "\xc3"}}}.write(out);
  const Recording read = this->read(out.str());
  EXPECT_EQ(read.layout, "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(read.marks.at(0).entered, "\xEF\xBF\xBD");
}

TEST_F(ReadRecording, HasTheRegionsOfThePlan) {
  const Recording read = this->read(text_);
  ASSERT_EQ(read.regions.size(), 3U * 2);  // for the host and for each device
  EXPECT_EQ(read.regions[1].place, Place::host());
  EXPECT_EQ(read.regions[1].tape, TapeKind::history);
  EXPECT_EQ(read.regions[1].name, "layers.0.k");
  EXPECT_EQ(read.regions[1].bytes, 1_MiB);
  EXPECT_EQ(read.regions[1].bytes_per_token, 1_KiB);
  EXPECT_EQ(read.regions[5].place, Place::gpu(1));
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
  const Recording recording = {.marks = {{.at = 5},  // a phase that the ring has lost
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

TEST_F(ReadRecording, IsReadUpToItsLastWholeLineWhereItIsCutOff) {
  const std::size_t first = text_.find('\n') + 1;
  for (std::size_t bytes = first; bytes <= text_.size(); ++bytes) {
    const bool near_an_end = text_.find('\n', bytes - 2) < bytes + 2;
    if (bytes % 17 != 0 && !near_an_end) continue;
    const std::string part = text_.substr(0, bytes);
    const Recording recording = read(part);
    const auto whole = static_cast<std::uint64_t>(std::ranges::count(part, '\n'));
    EXPECT_EQ(recording.samples() + recording.marks.size(), whole - 1) << bytes;
    EXPECT_EQ(recording.missing_lines, lines_.size() - whole) << bytes;
    std::ostringstream again;
    recording.write(again);
    EXPECT_EQ(again.str(), part.substr(0, part.rfind('\n') + 1));
  }
}

TEST_F(ReadRecording, RefusesOneThatIsCutOffInsideItsFirstLine) {
  const std::size_t first = text_.find('\n');
  for (std::size_t bytes = 0; bytes <= first; bytes += bytes + 17 < first ? 17 : 1) {
    EXPECT_THAT([&] { static_cast<void>(read(text_.substr(0, bytes))); },
                Throws<FormatError>(AllOf(Property(&FormatError::offset, bytes),
                                          Property(&FormatError::fault, cut_off))));
  }
}

TEST_F(ReadRecording, RefusesOtherFiles) {
  expect_refused({json::object()}, 0, "schema", not_this_format);
  EXPECT_THAT(
      [&] { static_cast<void>(read(std::string())); },
      Throws<FormatError>(Property(&FormatError::message, EndsWith(": the file is empty"))));
  EXPECT_THAT([&] { static_cast<void>(read(std::string("GGUF"))); },
              Throws<FormatError>(Property(&FormatError::advice, HasSubstr("decode --record"))));
  expect_refused({json(5)}, 0, "schema", not_this_format);
  expect_refused({lines_[0], json(5)}, 1, "", malformed);
  EXPECT_THROW(static_cast<void>(read(std::string("GGUF\n"))), FormatError);
  EXPECT_THROW(static_cast<void>(read(std::string("{\"schema\": \"\xff\"}\n"))), FormatError);
  EXPECT_THROW(static_cast<void>(read_recording(folder_ / "none")), SystemError);
  EXPECT_THROW(static_cast<void>(read_recording(folder_.path())), InvalidArgument);
}

TEST_F(ReadRecording, RefusesWhatIsMissing) {
  const auto expect_missing = [&](std::size_t line, const char* object, const char* member) {
    std::vector<json> lines = lines_;
    lines[line][json::json_pointer(object)].erase(member);
    expect_refused(lines, line, member, missing);
  };
  for (const char* const member :
       {"version", "layout", "gpus", "figures", "regions", "lines", "taken"}) {
    expect_missing(0, "", member);
  }
  for (const char* const member : {"t", "figures"}) expect_missing(1, "", member);
  for (const char* const member : {"place", "tape", "name", "offset", "bytes", "bytes_per_token"}) {
    expect_missing(0, "/regions/0", member);
  }
}

TEST_F(ReadRecording, RefusesHostileFigures) {
  for (const json& no_number : {json(-1), json(1.5), json("1"), json(nullptr),
                                json::parse("18446744073709551616"), json::array()}) {
    expect_refused(with_value(1, "/t", no_number), 1, "t", wrong_type);
    expect_refused(with_value(1, "/figures/0", no_number), 1, "figures", wrong_type);
    expect_refused(with_value(0, "/lines", no_number), 0, "lines", wrong_type);
    expect_refused(with_value(0, "/gpus", no_number), 0, "gpus", wrong_type);
    expect_refused(with_value(0, "/regions/0/bytes", no_number), 0, "bytes", wrong_type);
  }
  struct Hostile {
    std::size_t line;
    const char* pointer;
    json value;
    std::size_t refused_at;
    const char* field;
    FormatFault fault;
  };
  const json deep = json::parse("[[[[[[[[1]]]]]]]]");
  const std::vector<Hostile> all = {
      {0, "/schema", "tapedeck.snapshot", 0, "schema", not_this_format},
      {0, "/version", kRecordingVersion - 1, 0, "version", not_this_format},
      {0, "/version", kRecordingVersion + 1, 0, "version", not_this_format},
      {2, "/t", UINT64_MAX, 3, "t", contradictory},  // the next line is earlier
      {0, "/lines", 10, 11, "lines", contradictory},
      {1, "/figures", json::array(), 1, "figures", contradictory},
      {1, "/figures", 7, 1, "figures", wrong_type},
      {0, "/figures", json::array(), 0, "figures", missing},
      {0, "/figures/0", 1, 0, "figures", wrong_type},
      {0, "/run", "decode", 0, "run", wrong_type},
      {0, "/run/began", "today", 0, "began", wrong_type},
      {0, "/run/began", -1, 0, "began", wrong_type},
      {0, "/run/began", kLatestBeginning + 1, 0, "began", out_of_range},
      {0, "/run/host", nullptr, 0, "host", wrong_type},
      {0, "/run/model", 1, 0, "model", wrong_type},
      {0, "/run/command", json::array(), 0, "command", wrong_type},
      {0, "/gpus", kMostGpus + 1, 0, "gpus", out_of_range},
      {0, "/gpus", kMostGpus, 0, "figures", missing},
      {0, "/regions/0/tape", "heap", 0, "tape", out_of_range},
      {0, "/regions/0/place", "gpu2", 0, "place", contradictory},
      {0, "/regions/0/offset", UINT64_MAX, 0, "bytes", out_of_range},
      {0, "/regions/0", 1, 0, "regions", wrong_type},
      {1, "/deep", deep, 1, "", malformed},
  };
  for (const Hostile& one : all) {
    SCOPED_TRACE(one.pointer);
    expect_refused(with_value(one.line, one.pointer, one.value), one.refused_at, one.field,
                   one.fault);
  }
  EXPECT_EQ(read(with_value(0, "/lines", UINT64_MAX)).missing_lines,
            UINT64_MAX - (lines_.size() - 1));
  EXPECT_NO_THROW(static_cast<void>(read(with_value(1, "/text", "[[[[[[[[[{\\\"[["))));
}

// From a version of Tapedeck that has one more figure, and lacks one.
TEST_F(ReadRecording, TakesFiguresByTheirNames) {
  std::vector<json> lines = lines_;
  json& names = lines[0]["figures"];
  const auto index = [&names](const char* name) {
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  };
  const std::size_t used = index("host.history.used");
  const std::size_t clears = index("host.scratch.clears");
  ASSERT_LT(std::max(used, clears), names.size());
  std::swap(names[used], names[used + 1]);
  names.erase(clears);
  names.push_back("host.scratch.temperature");
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (!lines[i].contains("figures")) continue;
    json& values = lines[i]["figures"];
    std::swap(values[used], values[used + 1]);
    values.erase(clears);
    values.push_back(UINT64_MAX);
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
