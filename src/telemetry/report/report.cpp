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

constexpr std::size_t kPhaseColours = 8;
constexpr std::size_t kBandHeight = 10;
constexpr std::size_t kMostRows = 1000;  // of a tape; the picture has no more places either
constexpr std::uint64_t kSteps = 1000;

/// What the page shows, taken from the recording once.
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

void set_header(Object& page, const Contents& contents) {
  const Recording& recording = contents.recording;
  const std::uint64_t lost =
      recording.taken - std::min<std::uint64_t>(recording.taken, recording.samples());
  page.insert({{"layout", printable(recording.layout)},
               {"samples", std::to_string(recording.samples())},
               {"span", time_text(contents.span.end - contents.span.begin)},
               {"passes", std::to_string(contents.newest.passes)},
               {"conversations", std::to_string(contents.newest.conversations)},
               {"longest", std::to_string(internal::longest_talk(contents.newest))}});
  if (lost != 0) page["lost"] = std::to_string(lost);
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

/// The innermost phase at a time, with the words around it; empty outside of all.
std::string phase_at(const std::vector<RecordedPhase>& phases, std::uint64_t at) {
  const RecordedPhase* inner = nullptr;
  for (const RecordedPhase& phase : phases) {
    if (phase.begin > at) break;
    if (phase.end >= at && (inner == nullptr || phase.depth >= inner->depth)) inner = &phase;
  }
  return inner == nullptr ? "" : ", " + printable(inner->name);
}

/// What the page tells where one points at a chart: the right edges of its columns, and a text for
/// each. What would end the page's script is written otherwise.
std::string readouts(const Contents& contents) {
  nlohmann::json charts = nlohmann::json::array();
  std::vector<std::string> moments;
  for (const report::Chart& chart : contents.charts) {
    nlohmann::json x = nlohmann::json::array();
    nlohmann::json text = nlohmann::json::array();
    for (const report::Column& column : chart.columns) {
      if (moments.size() < chart.columns.size()) {
        moments.push_back(time_text(column.at - contents.span.begin) +
                          phase_at(contents.phases, column.at));
      }
      text.push_back(moments[x.size()] + ": in use " + to_iec(column.in_use) + ", committed " +
                     to_iec(column.committed) + ", peak " + to_iec(column.peak));
      x.push_back(contents.span.x(column.at));
    }
    charts.push_back({{"x", std::move(x)}, {"text", std::move(text)}});
  }
  std::string json = internal::json_text(charts);
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
                 {"filled", chart.by_tokens ? "filled by tokens" : "in use"},
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

/// Whose figures a column of a table has, and by which name the page knows them.
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
    const std::uint64_t value = field.of(column.figures);
    cells.push_back(Object{{"id", column.id + "." + field.name},
                           {"value", std::to_string(value)},
                           {"text", value_text(field.unit, value)}});
  }
  std::string words = field.name;
  std::replace(words.begin(), words.end(), '_', ' ');
  return Object{{"name", words}, {"help", field.help}, {"cells", cells}};
}

/// A row for each figure of a list.
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

std::string colour_of(std::size_t phase) { return std::to_string(phase % kPhaseColours); }

void set_phases(Object& page, const Contents& contents) {
  const report::PhasesPicture& picture = contents.picture;
  if (picture.names.empty()) return;
  List phases;
  for (std::size_t i = 0; i < picture.names.size(); ++i) {
    const report::NamedPhase& phase = picture.names[i];
    phases.push_back(Object{{"name", printable(phase.name)},
                            {"colour", colour_of(i)},
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
                           {"colour", colour_of(band.name)},
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

/// What is planned and does not grow is used as a whole, or not at all.
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

/// Where the regions lie, and how much of each is used. What would cover nothing new is left out.
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
                        {"regions", std::to_string(count) + (count == 1 ? " region" : " regions")},
                        {"used", to_iec(used_bytes)},
                        {"bytes", to_iec(bytes)},
                        {"boxes", region_boxes(regions)},
                        {"per_talk", kind == TapeKind::history},
                        {"entries", rows}};
  if (count > kMostRows) section.set("more", std::to_string(count - kMostRows));
  return section;
}

/// Of each tape that has regions: as the page's section `tapes` wants it.
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
