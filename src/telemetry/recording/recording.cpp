#include "tapedeck/telemetry/recording/recording.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <span>
#include <utility>

#include "tapedeck/base/checked.hpp"
#include "tapedeck/layout/stat_fields.hpp"
#include "telemetry/recording/sample_words.hpp"
#include "telemetry/snapshot/places.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace words = internal::words;
namespace {

using Json = nlohmann::ordered_json;

template <class Figures>
Json names_of(std::span<const StatField<Figures>> fields) {
  Json names = Json::array();
  for (const StatField<Figures>& field : fields) names.push_back(field.name);
  return names;
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

Json regions_json(const Recording& recording) {
  Json regions = Json::array();
  for (const RecordedRegion& region : recording.regions) {
    regions.push_back({{"place", region.place},
                       {"tape", region.tape},
                       {"name", region.name},
                       {"offset", region.offset},
                       {"bytes", region.bytes},
                       {"bytes_per_token", region.bytes_per_token}});
  }
  return regions;
}

std::string first_line(const Recording& recording) {
  Json tapes = Json::array();
  Stat stat;
  stat.gpus = recording.gpus;
  internal::for_each_tape(stat, [&](const std::string& place, const char* name, const TapeStat&) {
    tapes.push_back({place, name});
  });
  return line_of({{"schema", kRecordingSchema},
                  {"version", kRecordingVersion},
                  {"layout", recording.layout},
                  {"layout_fields", names_of(layout_fields())},
                  {"tape_fields", names_of(tape_fields())},
                  {"device_fields", names_of(device_fields())},
                  {"tapes", std::move(tapes)},
                  {"regions", regions_json(recording)},
                  {"lines", recording.samples() + recording.marks.size()},
                  {"taken", recording.taken}});
}

/// The next words of a sample as a list.
Json next(std::span<const std::uint64_t>& words, std::size_t count) {
  Json list(std::vector<std::uint64_t>(words.begin(), words.begin() + static_cast<long>(count)));
  words = words.subspan(count);
  return list;
}

std::string sample_line(std::span<const std::uint64_t> words, std::size_t gpus) {
  Json sample = {{"t", words[0]}};
  words = words.subspan(1);
  sample["layout"] = next(words, layout_fields().size());
  Json& tapes = sample["tapes"] = Json::array();
  for (std::size_t i = 0; i < 3 * (1 + gpus); ++i) {
    tapes.push_back(next(words, tape_fields().size()));
  }
  Json& devices = sample["devices"] = Json::array();
  for (std::size_t i = 0; i < gpus; ++i) devices.push_back(next(words, device_fields().size()));
  sample["peaks"] = next(words, words.size());
  return line_of(sample);
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

// Samples and marks are each in order already.
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
    out << sample_line(sample, gpus);
  }
  write_marks(UINT64_MAX);
}

TAPEDECK_ABI_END
}  // namespace tapedeck
