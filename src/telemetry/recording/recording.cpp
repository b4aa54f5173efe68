// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/recording/recording.hpp"

#include <algorithm>
#include <ostream>
#include <span>
#include <utility>

#include "base/json.hpp"
#include "tapedeck/base/checked.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace words = internal::words;
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Json& json) { return internal::json_text(json) + '\n'; }

/// Only what is known.
Json run_json(const RecordedRun& run) {
  Json json = Json::object();
  if (run.began) json["began"] = *run.began;
  if (!run.host.empty()) json["host"] = run.host;
  if (!run.model.empty()) json["model"] = run.model;
  if (!run.command.empty()) json["command"] = run.command;
  return json;
}

std::string first_line(const Recording& recording) {
  Json regions = Json::array();
  for (const RecordedRegion& region : recording.regions) {
    regions.push_back({{"place", to_string(region.place)},
                       {"tape", to_string(region.tape)},
                       {"name", region.name},
                       {"offset", region.offset},
                       {"bytes", region.bytes},
                       {"bytes_per_token", region.bytes_per_token}});
  }
  return line_of({{"schema", kRecordingSchema},
                  {"version", kRecordingVersion},
                  {"layout", recording.layout},
                  {"run", run_json(recording.run)},
                  {"gpus", recording.gpus},
                  {"figures", words::names(recording.gpus)},
                  {"regions", std::move(regions)},
                  {"lines", recording.samples() + recording.marks.size() + recording.missing_lines},
                  {"taken", recording.taken}});
}

std::string sample_line(std::span<const std::uint64_t> words) {
  return line_of(
      {{"t", words[0]}, {"figures", std::vector<std::uint64_t>(words.begin() + 1, words.end())}});
}

std::string mark_line(const RecordedMark& mark) {
  if (!mark.entered) return line_of({{"t", mark.at}, {"leave", nullptr}});
  return line_of({{"t", mark.at}, {"enter", *mark.entered}});
}

}  // namespace

std::uint64_t RecordedRegion::filled(std::uint64_t tokens) const noexcept {
  if (bytes_per_token == 0) return bytes;
  return std::min(checked_mul(bytes_per_token, tokens).value_or(bytes), bytes);
}

std::size_t Recording::samples() const noexcept { return words.size() / words::count(gpus); }

RecordedSample Recording::sample(std::size_t i) const noexcept {
  const std::size_t each = words::count(gpus);
  return words::get(std::span(words).subspan(i * each, each), gpus);
}

std::uint64_t Recording::end() const noexcept {
  const std::uint64_t last_mark = marks.empty() ? 0 : marks.back().at;
  return std::max(last_mark, words.empty() ? 0 : sample(samples() - 1).at);
}

std::vector<RecordedPhase> Recording::phases() const {
  std::vector<RecordedPhase> phases;
  std::vector<std::size_t> open;
  const std::uint64_t at_the_end = end();
  for (const RecordedMark& mark : marks) {
    if (mark.entered) {
      open.push_back(phases.size());
      phases.push_back(
          {.name = *mark.entered, .begin = mark.at, .end = at_the_end, .depth = open.size() - 1});
    } else if (!open.empty()) {
      phases[open.back()].end = mark.at;
      open.pop_back();
    }
  }
  return phases;
}

// Samples and marks are each sorted by time already.
void Recording::write(std::ostream& out) const {
  const std::size_t each = words::count(gpus);
  auto mark = marks.begin();
  const auto write_marks = [&](std::uint64_t until) {
    for (; mark != marks.end() && mark->at <= until; ++mark) out << mark_line(*mark);
  };
  out << first_line(*this);
  for (std::size_t i = 0; i < samples(); ++i) {
    const auto sample = std::span(words).subspan(i * each, each);
    write_marks(sample[0]);
    out << sample_line(sample);
  }
  write_marks(UINT64_MAX);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
