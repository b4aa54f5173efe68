// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/checks.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"
#include "tapedeck/telemetry/report/advice.hpp"
#include "tapedeck/telemetry/report/report.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace {

using namespace tapedeck;

[[maybe_unused]] std::size_t count(std::string_view text, std::string_view what) {
  std::size_t times = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; ++at) ++times;
  return times;
}

std::string lines_of(const Recording& recording) {
  std::ostringstream lines;
  recording.write(lines);
  return lines.str();
}

Recording read_back(const std::string& lines) {
  static const fuzz::MemoryFile file;
  return read_recording(
      file.hold(reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()));
}

void check_phases(const Recording& recording) {
  const std::vector<RecordedPhase> phases = recording.phases();
  fuzz::require(phases.size() <= recording.marks.size());
  for (const RecordedPhase& phase : phases) {
    fuzz::require(phase.begin <= phase.end && phase.end <= recording.end());
    fuzz::require(phase.depth < phases.size());
  }
}

void check_samples(const Recording& recording) {
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < recording.samples(); ++i) {
    const RecordedSample sample = recording.sample(i);
    fuzz::require(sample.at >= last && sample.at <= recording.end());
    fuzz::require(sample.stat.gpus == recording.gpus && !sample.stat.text().empty());
    last = sample.at;
  }
}

void check_report(const Recording& recording) {
#if defined(TAPEDECK_MUSTACHE)
  constexpr std::size_t kScripts = 2;  // that the page itself contains
  const std::string page = report_html(recording);
  fuzz::require(count(page, "<script") == kScripts && count(page, "</script") == kScripts);
#endif
  for (const TapeAdvice& advice : advise(recording).tapes) fuzz::require(!advice.text.empty());
}

void check(const Recording& recording) {
  fuzz::require(recording.gpus <= kMostGpus);
  fuzz::require(recording.words.size() ==
                recording.samples() * internal::words::count(recording.gpus));
  check_samples(recording);
  check_phases(recording);
  for (const RecordedRegion& region : recording.regions) {
    fuzz::require(region.filled(UINT64_MAX) <= region.bytes);
  }
  check_report(recording);
  // Writing what was read, and reading that again, must give the same recording.
  const std::string lines = lines_of(recording);
  fuzz::require(lines_of(read_back(lines)) == lines);
}

void read(const std::string& lines) {
  std::optional<Recording> recording;
  try {
    recording = read_back(lines);
  } catch (const FormatError&) {
    return;  // refused, which is allowed
  }
  check(*recording);
}

/// A valid recording that contains something of everything.
const std::string& valid_lines() {
  static const std::string lines = [] {
    Recording recording = {.layout = "</script><script>", .gpus = 1, .taken = 2};
    recording.regions.push_back({.place = Place::host(),
                                 .tape = TapeKind::history,
                                 .name = "<script>",
                                 .bytes = 64,
                                 .bytes_per_token = 8});
    recording.marks = {{.at = 1, .entered = "<script>"}, {.at = 3, .entered = "decode"}, {.at = 4}};
    for (const std::uint64_t at : {2U, 5U}) {
      recording.words.push_back(at);
      for (std::uint64_t i = 1; i < internal::words::count(1); ++i) recording.words.push_back(i);
    }
    return lines_of(recording);
  }();
  return lines;
}

/// Splits the text into words, numbers and single characters.
std::vector<std::string_view> pieces_of(std::string_view text) {
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const auto end = std::find_if_not(text.begin(), text.end(), is_word);
    const auto length = std::max<std::size_t>(1, static_cast<std::size_t>(end - text.begin()));
    pieces.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return pieces;
}

/// The valid recording with some pieces replaced. The input contains where they begin, how many
/// they are, and what replaces them.
std::string spliced(std::string_view input) {
  constexpr std::size_t kMost = 8;
  static const std::vector<std::string_view> pieces = pieces_of(valid_lines());
  if (input.size() < 3) return valid_lines();
  const auto byte = [input](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const std::size_t begin = (byte(0) * 256U + byte(1)) % pieces.size();
  const std::size_t end = std::min(begin + byte(2) % kMost, pieces.size());
  std::string lines;
  for (std::size_t i = 0; i < begin; ++i) lines += pieces[i];
  lines += input.substr(3);
  for (std::size_t i = end; i < pieces.size(); ++i) lines += pieces[i];
  return lines;
}

}  // namespace

// Uses the input once as it is, and once as part of a recording, which random input would rarely
// form.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  static const bool is_valid = read_back(valid_lines()).samples() == 2;
  fuzz::require(is_valid);
  const std::string_view input(reinterpret_cast<const char*>(data), bytes);
  read(std::string(input));
  read(spliced(input));
  return 0;
}
