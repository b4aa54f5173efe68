// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/report/report.hpp"

#include <algorithm>
#include <cstdint>
#include <kainjow/mustache.hpp>
#include <span>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "base/json.hpp"
#include "base/printable.hpp"
#include "layout/stat_walk.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/version.hpp"
#include "tapedeck/telemetry/report/advice.hpp"
#include "telemetry/recording/sample_words.hpp"
#include "telemetry/report/page.hpp"
#include "telemetry/report/text.hpp"
#include "telemetry/report/timeline.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace report = internal::report;
namespace {

using Data = kainjow::mustache::data;
using Object = kainjow::mustache::object;
using List = kainjow::mustache::list;
using internal::printable;
using internal::saturated_sum;
using internal::scaled;
using internal::time_text;
using internal::value_text;

constexpr std::size_t kPhaseColors = 8;
constexpr std::size_t kBandHeight = 10;
constexpr std::size_t kMostRows = 1000;    // per tape; the picture is as many units wide
constexpr std::size_t kMostOfFact = 1024;  // bytes of a path or a command line
constexpr std::uint64_t kSteps = 1000;

/// What several sections of the page need, computed once.
struct Contents {
  explicit Contents(const Recording& from)
      : recording(from),
        span(report::span_of(from)),
        charts(report::charts_of(from)),
        phases(from.phases()),
        picture(report::picture(phases, span)),
        newest(internal::words::newest_stat(from)) {}

  const Recording& recording;
  report::Span span;
  std::vector<report::Chart> charts;
  std::vector<RecordedPhase> phases;
  report::PhasesPicture picture;
  Stat newest;
};

std::string name_of(Place place, TapeKind tape) { return to_string(place) + " " + to_string(tape); }

/// What is unknown is left out of the page.
void set_run(Object& page, const RecordedRun& run) {
  if (run.began && *run.began <= kLatestBeginning) {
    const report::DateText date(*run.began);
    page.insert({{"date", date.for_people()}, {"date_iso", date.for_browsers()}});
  }
  if (!run.host.empty()) page["host"] = printable(run.host);
  if (!run.model.empty()) page["model"] = printable(run.model, kMostOfFact);
  if (!run.command.empty()) page["command"] = printable(run.command, kMostOfFact);
}

void set_header(Object& page, const Contents& contents) {
  const Recording& recording = contents.recording;
  const std::uint64_t lost =
      recording.taken - std::min<std::uint64_t>(recording.taken, recording.samples());
  page.insert({{"layout", printable(recording.layout)},
               {"samples", std::to_string(recording.samples())},
               {"span", time_text(contents.span.end - contents.span.begin)},
               {"passes", std::to_string(contents.newest.passes)},
               {"conversations", std::to_string(contents.newest.conversations)}});
  if (internal::tokens_known(contents.newest) || internal::counts_tokens(contents.newest)) {
    page["longest"] = std::to_string(internal::longest_talk(contents.newest));
  }
  // Of the lines that are cut off, any number may be samples.
  const std::uint64_t missing = recording.missing_lines;
  if (lost > missing)
    page["lost"] = (missing == 0 ? "" : "at least ") + std::to_string(lost - missing);
  if (missing != 0) page["missing"] = internal::count_of(missing, "line");
}

void set_advice(Object& page, const Contents& contents) {
  const Advice advice = advise(contents.recording);
  List items;
  for (const TapeAdvice& tape : advice.tapes) {
    items.push_back(Object{{"finding", to_string(tape.finding)}, {"text", tape.text}});
  }
  page["advice"] = items;
  if (!advice.text.empty()) page["talks_advice"] = advice.text;
}

/// ", " and the innermost phase at a time; empty outside all phases.
std::string phase_at(const std::vector<RecordedPhase>& phases, std::uint64_t at) {
  const RecordedPhase* inner = nullptr;
  for (const RecordedPhase& phase : phases) {
    if (phase.begin > at) break;
    if (phase.end >= at && (inner == nullptr || phase.depth >= inner->depth)) inner = &phase;
  }
  return inner == nullptr ? "" : ", " + printable(inner->name);
}

/// What the page's script shows at the pointer, as JSON: the right edge of each column and its time
/// and phase, then the values of each chart. All charts have the same columns. Each '<' is written
/// as an escape, so that no text can end the script element.
std::string readouts(const Contents& contents) {
  nlohmann::json data = {{"x", nlohmann::json::array()},
                         {"moment", nlohmann::json::array()},
                         {"charts", nlohmann::json::array()}};
  for (const report::Chart& chart : contents.charts) {
    nlohmann::json& values = data["charts"].emplace_back();
    for (const report::Column& column : chart.columns) {
      values["in_use"].push_back(to_iec(column.in_use));
      values["committed"].push_back(to_iec(column.committed));
      values["peak"].push_back(to_iec(column.peak));
      if (data["charts"].size() != 1) continue;
      data["x"].push_back(contents.span.x(column.at));
      data["moment"].push_back(time_text(column.at - contents.span.begin) +
                               phase_at(contents.phases, column.at));
    }
  }
  std::string json = internal::json_text(data);
  for (std::size_t at = 0; (at = json.find('<', at)) != std::string::npos;) {
    json.replace(at, 1, "\\u003c");
  }
  return json;
}

Data chart_data(const report::Chart& chart, std::size_t index, const Contents& contents,
                const TapeStat& newest) {
  std::uint64_t most = 0;
  for (const report::Column& column : chart.columns) most = std::max(most, column.in_use);
  Object data = {{"index", std::to_string(index)},
                 {"name", name_of(chart.place, chart.tape)},
                 {"filled", chart.by_tokens ? "filled with tokens" : "in use"},
                 {"most", to_iec(most)},
                 {"reserved", to_iec(newest.reserved)},
                 {"top", to_iec(chart.top == 1 ? 0 : chart.top)},
                 {"end", time_text(contents.span.end - contents.span.begin)},
                 {"committed_area", chart.committed_area},
                 {"in_use_area", chart.in_use_area},
                 {"peak_line", chart.peak_line}};
  if (newest.planned != 0) data["planned_text"] = to_iec(newest.planned);
  if (chart.planned != 0) data["planned_y"] = std::to_string(report::y(chart, chart.planned));
  return data;
}

/// A column of a table: its heading, the prefix of its figures' `data-figure`, and the figures.
template <class Figures>
struct TableColumn {
  std::string name;
  std::string id;
  Figures figures;
};

template <class Figures>
Data row(const StatField<Figures>& field, const std::vector<TableColumn<Figures>>& columns) {
  List cells;
  for (const TableColumn<Figures>& column : columns) {
    const std::optional<std::uint64_t> value = field.known(column.figures);
    cells.push_back(Object{{"id", column.id + "." + field.name},
                           {"value", value ? std::to_string(*value) : ""},
                           {"text", value ? value_text(field.unit, *value) : "unknown"}});
  }
  std::string words = field.name;
  std::replace(words.begin(), words.end(), '_', ' ');
  return Object{{"name", words}, {"help", field.help}, {"cells", cells}};
}

/// A table with a row for each figure of the list.
template <class Figures>
Data table(std::span<const StatField<Figures>> fields,
           const std::vector<TableColumn<Figures>>& columns) {
  List rows;
  for (const StatField<Figures>& field : fields) rows.push_back(row(field, columns));
  List heads;
  for (const TableColumn<Figures>& column : columns) heads.push_back(Data("name", column.name));
  return Object{{"columns", heads}, {"rows", rows}};
}

void set_charts(Object& page, const Contents& contents) {
  if (contents.charts.empty()) return;
  page["has_charts"] = true;
  List charts;
  std::vector<TableColumn<TapeStat>> of_tapes;
  for (const report::Chart& chart : contents.charts) {
    const TapeStat& tape = internal::tape_of(contents.newest, chart.place, chart.tape);
    charts.push_back(chart_data(chart, charts.size(), contents, tape));
    const internal::FigureOwner owner = {chart.place, chart.tape};
    of_tapes.push_back({name_of(chart.place, chart.tape), to_string(owner), tape});
  }
  std::vector<TableColumn<DeviceStat>> of_devices;
  for (std::size_t i = 0; i < contents.recording.gpus; ++i) {
    const std::string place = to_string(Place::gpu(i));
    of_devices.push_back({place, place, contents.newest.gpu[i]});
  }
  List tables = {table(tape_fields(), of_tapes)};
  if (!of_devices.empty()) tables.push_back(table(device_fields(), of_devices));
  page["charts"] = charts;
  page["tables"] = tables;
}

std::string color_of(std::size_t phase) { return std::to_string(phase % kPhaseColors); }

void set_phases(Object& page, const Contents& contents) {
  const report::PhasesPicture& picture = contents.picture;
  if (picture.names.empty()) return;
  List phases;
  for (std::size_t i = 0; i < picture.names.size(); ++i) {
    const report::NamedPhase& phase = picture.names[i];
    phases.push_back(Object{{"name", printable(phase.name)},
                            {"color", color_of(i)},
                            {"times", std::to_string(phase.times)},
                            {"total", std::to_string(phase.total)},
                            {"total_text", time_text(phase.total)},
                            {"each_text", time_text(phase.total / phase.times)}});
  }
  std::size_t depths = 0;
  List bands;
  for (const report::Band& band : picture.bands) {
    depths = std::max(depths, band.depth + 1);
    bands.push_back(Object{{"name", printable(picture.names[band.name].name)},
                           {"color", color_of(band.name)},
                           {"x", std::to_string(band.x)},
                           {"y", std::to_string(band.depth * kBandHeight)},
                           {"width", std::to_string(band.width)}});
  }
  page.insert({{"has_phases", true},
               {"phases", phases},
               {"bands", bands},
               {"phases_height", std::to_string(depths * kBandHeight)}});
}

struct UsedRegion {
  const RecordedRegion* region;
  std::uint64_t used;
};

/// A planned region that does not grow counts as used completely, or not at all.
std::uint64_t used_of(const RecordedRegion& region, const Stat& stat, std::uint64_t longest) {
  if (region.tape == TapeKind::weights) return region.bytes;
  if (region.tape == TapeKind::history && internal::counts_tokens(stat)) {
    return longest == 0 ? 0 : region.filled(longest);
  }
  return stat.passes == 0 ? 0 : region.bytes;
}

Data region_row(const UsedRegion& used) {
  const RecordedRegion& region = *used.region;
  return Object{{"name", printable(region.name)},
                {"offset", std::to_string(region.offset)},
                {"bytes_value", std::to_string(region.bytes)},
                {"bytes_text", to_iec(region.bytes)},
                {"used_value", std::to_string(used.used)},
                {"used_text", to_iec(used.used)},
                {"share", std::to_string(scaled(used.used, region.bytes, kSteps))}};
}

Data region_box(const char* kind, std::uint64_t x, std::uint64_t width, const std::string& title) {
  return Object{
      {"kind", kind}, {"x", std::to_string(x)}, {"width", std::to_string(width)}, {"title", title}};
}

/// The positions of the regions, and how much of each is used. A region whose box would lie within
/// the boxes before it gets none.
List region_boxes(const std::vector<UsedRegion>& regions) {
  std::uint64_t extent = 0;
  for (const UsedRegion& used : regions) {
    extent = std::max(extent, saturated_sum(used.region->offset, used.region->bytes));
  }
  List boxes;
  std::uint64_t covered = 0;
  for (const UsedRegion& used : regions) {
    const RecordedRegion& region = *used.region;
    const std::uint64_t begin = std::min(scaled(region.offset, extent, kSteps), kSteps - 1);
    const std::uint64_t end =
        std::max(scaled(saturated_sum(region.offset, region.bytes), extent, kSteps), begin + 1);
    if (end <= covered) continue;
    covered = end;
    const std::string title =
        printable(region.name) + ": " + to_iec(used.used) + " of " + to_iec(region.bytes);
    boxes.push_back(region_box("planned", begin, end - begin, title));
    const std::uint64_t width = (end - begin) * scaled(used.used, region.bytes, kSteps) / kSteps;
    if (used.used != 0)
      boxes.push_back(region_box("used", begin, std::max<std::uint64_t>(width, 1), title));
  }
  return boxes;
}

Data region_section(Place place, TapeKind kind, const std::vector<UsedRegion>& regions) {
  std::uint64_t bytes = 0;
  std::uint64_t used_bytes = 0;
  List rows;
  for (const UsedRegion& used : regions) {
    bytes = saturated_sum(bytes, used.region->bytes);
    used_bytes = saturated_sum(used_bytes, used.used);
    if (rows.size() < kMostRows) rows.push_back(region_row(used));
  }
  const std::size_t count = regions.size();
  Data section = Object{{"name", name_of(place, kind)},
                        {"regions", internal::count_of(count, "region")},
                        {"used", to_iec(used_bytes)},
                        {"bytes", to_iec(bytes)},
                        {"boxes", region_boxes(regions)},
                        {"per_talk", kind == TapeKind::history},
                        {"entries", rows}};
  if (count > kMostRows) section.set("more", std::to_string(count - kMostRows));
  return section;
}

/// The page's `tapes`: a section for each tape that has regions.
List region_sections(const Contents& contents) {
  const Stat& newest = contents.newest;
  List sections;
  internal::for_each_place(newest, newest.gpus, [&](Place place, const auto& side) {
    for (const TapeKind kind : kTapeKinds) {
      std::vector<UsedRegion> regions;
      for (const RecordedRegion& region : contents.recording.regions) {
        if (region.place != place || region.tape != kind) continue;
        regions.push_back({&region, used_of(region, newest, side.longest_talk)});
      }
      if (!regions.empty()) sections.push_back(region_section(place, kind, regions));
    }
  });
  return sections;
}

Object page_frame() {
  return {{"style", std::string(report::kStyle)},
          {"script", std::string(report::kScript)},
          {"style_hash", report::base64_of_hex(report::kStyleHash)},
          {"script_hash", report::base64_of_hex(report::kScriptHash)},
          {"recording_version", std::to_string(kRecordingVersion)},
          {"version", std::to_string(TAPEDECK_VERSION_MAJOR) + "." +
                          std::to_string(TAPEDECK_VERSION_MINOR) + "." +
                          std::to_string(TAPEDECK_VERSION_PATCH)}};
}

}  // namespace

std::string report_html(const Recording& recording) {
  const Contents contents(recording);
  Object page = page_frame();
  set_run(page, recording.run);
  set_header(page, contents);
  set_advice(page, contents);
  set_charts(page, contents);
  set_phases(page, contents);
  const List sections = region_sections(contents);
  page["has_tapes"] = !sections.empty();
  page["tapes"] = sections;
  page["data"] = readouts(contents);
  return kainjow::mustache::mustache(std::string(report::kPage)).render(page);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
