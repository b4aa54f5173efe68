// SPDX-License-Identifier: Apache-2.0
#include "telemetry/report/timeline.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/amounts.hpp"
#include "layout/stat_walk.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace tapedeck::internal::report {
namespace {

/// The most bytes of a tape that were in use since the sample before. A planned history counts as
/// completely in use if the engine does not count tokens.
std::uint64_t in_use(const Chart& chart, const RecordedSample& sample) {
  const std::uint64_t peak = tape_of(sample.peaks, chart.place, chart.tape);
  if (chart.tape != TapeKind::history || chart.by_tokens) return peak;
  return std::max(peak, tape_of(sample.stat, chart.place, chart.tape).planned);
}

void raise_last_column(Chart& chart, const RecordedSample& sample) {
  const std::uint64_t used = in_use(chart, sample);
  const TapeStat& stat = tape_of(sample.stat, chart.place, chart.tape);
  Column& column = chart.columns.back();
  column = {.at = sample.at,
            .in_use = std::max(column.in_use, used),
            .committed = std::max(column.committed, stat.committed),
            .peak = std::max({column.peak, stat.peak, used})};
}

std::string path_along(const Chart& chart, const Span& span, std::uint64_t Column::*value) {
  std::string path = "M0 " + std::to_string(y(chart, chart.columns.front().*value));
  for (const Column& column : chart.columns) {
    path += "V" + std::to_string(y(chart, column.*value)) + "H" + std::to_string(span.x(column.at));
  }
  return path;
}

std::string area_below(const std::string& path) {
  return path + "V" + std::to_string(kHeight) + "H0Z";
}

void draw(Chart& chart, const Span& span) {
  for (const Column& column : chart.columns) {
    chart.top = std::max({chart.top, column.in_use, column.committed, column.peak});
  }
  // A line far above all other values would flatten them.
  if (chart.planned / 2 > chart.top) chart.planned = 0;
  chart.top = std::max(chart.top, chart.planned);
  chart.in_use_area = area_below(path_along(chart, span, &Column::in_use));
  chart.committed_area = area_below(path_along(chart, span, &Column::committed));
  chart.peak_line = path_along(chart, span, &Column::peak);
}

/// The index of a name in `all`, which gets the name if it has room for it.
std::size_t name_among(std::vector<NamedPhase>& all, const std::string& name) {
  const auto found = std::ranges::find(all, name, &NamedPhase::name);
  if (found != all.end()) return static_cast<std::size_t>(found - all.begin());
  if (all.size() <= kMostNames) all.push_back({.name = all.size() < kMostNames ? name : "..."});
  return all.size() - 1;
}

/// The charts that the page will have, without columns.
std::vector<Chart> empty_charts(const Stat& newest) {
  std::vector<Chart> charts;
  for_each_tape(newest, [&](Place place, TapeKind tape, const TapeStat& stat) {
    Chart chart = {.place = place, .tape = tape, .planned = stat.planned};
    chart.by_tokens = tape == TapeKind::history && stat.planned != 0 && counts_tokens(newest);
    if (was_asked(stat)) charts.push_back(std::move(chart));
  });
  return charts;
}

}  // namespace

std::uint64_t Span::x(std::uint64_t at) const noexcept {
  return scaled(at - std::min(at, begin), end - begin, kWidth);
}

std::uint64_t y(const Chart& chart, std::uint64_t bytes) noexcept {
  return kHeight - scaled(bytes, chart.top, kHeight);
}

Span span_of(const Recording& recording) noexcept {
  Span span = {.begin = UINT64_MAX, .end = recording.end()};
  if (recording.samples() != 0) span.begin = recording.sample(0).at;
  if (!recording.marks.empty()) span.begin = std::min(span.begin, recording.marks.front().at);
  span.begin = std::min(span.begin, span.end);
  if (span.begin != span.end) return span;
  // A single moment gets some width, too, without an overflow at either end.
  return span.end == UINT64_MAX ? Span{span.begin - 1, span.end} : Span{span.begin, span.end + 1};
}

std::vector<Chart> charts_of(const Recording& recording) {
  const std::size_t samples = recording.samples();
  if (samples == 0) return {};
  const Span span = span_of(recording);
  std::vector<Chart> charts = empty_charts(words::newest_stat(recording));
  std::optional<std::uint64_t> last_bucket;
  for (std::size_t i = 0; i < samples; ++i) {
    const RecordedSample sample = recording.sample(i);
    const std::uint64_t bucket =
        samples <= kMostColumns
            ? i
            : scaled(sample.at - span.begin, span.end - span.begin, kMostColumns - 1);
    for (Chart& chart : charts) {
      if (bucket != last_bucket) chart.columns.emplace_back();
      raise_last_column(chart, sample);
    }
    last_bucket = bucket;
  }
  for (Chart& chart : charts) draw(chart, span);
  return charts;
}

PhasesPicture picture(const std::vector<RecordedPhase>& phases, const Span& span) {
  PhasesPicture picture;
  std::array<std::size_t, kDepths> last{};  // of each depth: 1 + the index of its last band
  for (const RecordedPhase& phase : phases) {
    const std::size_t name = name_among(picture.names, phase.name);
    NamedPhase& named = picture.names[name];
    ++named.times;
    named.total = saturated_sum(named.total, phase.end - phase.begin);
    if (phase.depth >= kDepths) continue;
    const std::uint64_t begin = span.x(phase.begin);
    const std::uint64_t end = std::max(span.x(phase.end), begin + 1);
    if (last[phase.depth] != 0) {
      Band& before = picture.bands[last[phase.depth] - 1];
      const std::uint64_t before_end = before.x + before.width;
      if (before.name == name && begin <= before_end) {
        before.width = std::max(end, before_end) - before.x;
        continue;
      }
      if (end <= before_end) continue;  // an earlier band covers it
    }
    picture.bands.push_back({.x = begin, .width = end - begin, .depth = phase.depth, .name = name});
    last[phase.depth] = picture.bands.size();
  }
  return picture;
}

}  // namespace tapedeck::internal::report
