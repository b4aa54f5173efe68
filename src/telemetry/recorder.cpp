#include "tapedeck/telemetry/recorder.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/stat_fields.hpp"
#include "telemetry/places.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostSamples = std::size_t{1} << 24;

std::size_t words_of(std::size_t gpus) {
  return 1 + layout_fields().size() + 3 * (1 + gpus) * tape_fields().size() +
         gpus * device_fields().size();
}

/// Writes all figures of a struct, and returns the place behind them.
template <class Figures>
std::uint64_t* put(std::uint64_t* at, std::span<const StatField<Figures>> fields,
                   const Figures& figures) noexcept {
  for (const StatField<Figures>& field : fields) *at++ = field.of(figures);
  return at;
}

template <class Tapes>
std::uint64_t* put_tapes(std::uint64_t* at, const Tapes& tapes) noexcept {
  at = put(at, tape_fields(), tapes.weights);
  at = put(at, tape_fields(), tapes.scratch);
  return put(at, tape_fields(), tapes.history);
}

template <class Figures>
Json names_of(std::span<const StatField<Figures>> fields) {
  Json names = Json::array();
  for (const StatField<Figures>& field : fields) names.push_back(field.name);
  return names;
}

void add_regions(Json& all, const std::string& place, const Plan& plan) {
  const auto add = [&](const char* tape, const TapePlan& regions) {
    for (const Region& region : regions.regions()) {
      all.push_back({{"place", place},
                     {"tape", tape},
                     {"name", region.name},
                     {"offset", region.offset},
                     {"bytes", region.bytes}});
    }
  };
  add("weights", plan.weights);
  add("scratch", plan.scratch);
  add("history", plan.history);
}

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

/// As many numbers as there are fields, from `at` on, which is then behind them.
Json numbers(const std::uint64_t*& at, std::size_t count) {
  Json all(std::vector<std::uint64_t>(at, at + count));
  at += count;
  return all;
}

Json sample_json(const std::uint64_t* at, std::size_t gpus) {
  Json sample = {{"t", *at++}};
  sample["layout"] = numbers(at, layout_fields().size());
  Json& tapes = sample["tapes"] = Json::array();
  for (std::size_t i = 0; i < 3 * (1 + gpus); ++i) {
    tapes.push_back(numbers(at, tape_fields().size()));
  }
  Json& devices = sample["devices"] = Json::array();
  for (std::size_t i = 0; i < gpus; ++i) devices.push_back(numbers(at, device_fields().size()));
  return sample;
}

Json mark_json(std::uint64_t at, const char* entered) {
  if (entered == nullptr) return {{"t", at}, {"leave", nullptr}};
  return {{"t", at}, {"enter", entered}};
}

}  // namespace

Recorder::Recorder(const Layout& layout, RecorderOptions options)
    : layout_(layout), options_(std::move(options)), words_(words_of(layout.gpus())) {
  if (options_.samples == 0 || options_.samples > kMostSamples) {
    throw InvalidArgument("a recorder of " + std::to_string(options_.samples) + " samples",
                          "it keeps 1 at least, and 2^24 at most");
  }
  if (options_.every_passes == 0) {
    throw InvalidArgument("a recorder that samples every 0 passes", "1 is every pass");
  }
  ring_.resize(options_.samples * words_);
  marks_.resize(options_.samples);
}

void Recorder::sample() noexcept {
  const Stat stat = layout_.stat();
  passes_ = 0;
  last_ = now();
  std::uint64_t* at = &ring_[taken_ % options_.samples * words_];
  *at++ = last_;
  at = put(at, layout_fields(), stat);
  at = put_tapes(at, stat);
  for (std::size_t i = 0; i < layout_.gpus(); ++i) at = put_tapes(at, stat.gpu[i]);
  for (std::size_t i = 0; i < layout_.gpus(); ++i) at = put(at, device_fields(), stat.gpu[i]);
  ++taken_;
}

void Recorder::sample_if_due() noexcept {
  const auto apart = static_cast<std::uint64_t>(options_.at_least_apart.count());
  if (apart != 0 && taken_ != 0 && now() - last_ < apart) return;
  sample();
}

void Recorder::mark(const char* entered) noexcept {
  marks_[marked_++ % options_.samples] = {.at = now(), .entered = entered};
}

std::size_t Recorder::size() const noexcept {
  return static_cast<std::size_t>(std::min<std::uint64_t>(taken_, options_.samples));
}

std::uint64_t Recorder::now() const noexcept {
  const auto since = std::chrono::steady_clock::now() - began_;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

std::string Recorder::first_line(std::size_t lines) const {
  Json tapes = Json::array();
  for_each_tape(layout_.stat(), [&](const std::string& place, const char* name, const TapeStat&) {
    tapes.push_back({place, name});
  });
  Json regions = Json::array();
  add_regions(regions, "host", layout_.plan());
  for (std::size_t i = 0; i < layout_.gpus(); ++i) {
    add_regions(regions, gpu_place(i), layout_.gpu(i).plan());
  }
  return line_of({{"schema", "tapedeck.recording"},
                  {"version", kRecordingVersion},
                  {"layout", options_.name},
                  {"layout_fields", names_of(layout_fields())},
                  {"tape_fields", names_of(tape_fields())},
                  {"device_fields", names_of(device_fields())},
                  {"tapes", std::move(tapes)},
                  {"regions", std::move(regions)},
                  {"lines", lines},
                  {"taken", taken_}});
}

// Samples and marks are each in order already.
void Recorder::write(std::ostream& out) const {
  const std::uint64_t marks = std::min<std::uint64_t>(marked_, options_.samples);
  std::uint64_t mark = marked_ - marks;
  out << first_line(size() + static_cast<std::size_t>(marks));
  const auto write_marks = [&](std::uint64_t until) {
    for (; mark < marked_; ++mark) {
      const Mark& one = marks_[mark % options_.samples];
      if (one.at > until) return;
      out << line_of(mark_json(one.at, one.entered));
    }
  };
  for (std::uint64_t i = taken_ - size(); i < taken_; ++i) {
    const std::uint64_t* const sample = &ring_[i % options_.samples * words_];
    write_marks(*sample);
    out << line_of(sample_json(sample, layout_.gpus()));
  }
  write_marks(UINT64_MAX);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
