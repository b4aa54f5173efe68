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
#include "telemetry/report/page.hpp"
#include "telemetry/report/regions.hpp"
#include "telemetry/report/text.hpp"
#include "telemetry/report/timeline.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace report = internal::report;
namespace {

using Data = kainjow::mustache::data;
using List = kainjow::mustache::list;
using internal::printable;
using internal::time_text;
using internal::value_text;

constexpr std::size_t kPhaseColours = 8;
constexpr std::size_t kBandHeight = 10;

/// All that is told of, taken from the recording once.
struct Contents {
  explicit Contents(const Recording& from)
      : recording(from),
        span(report::span_of(from)),
        charts(report::charts_of(from)),
        phases(from.phases()),
        picture(report::picture(phases, span)) {
    if (from.samples() != 0) newest = from.sample(from.samples() - 1).stat;
  }

  const Recording& recording;
  report::Span span;
  std::vector<report::Chart> charts;
  std::vector<RecordedPhase> phases;
  report::PhasesPicture picture;
  Stat newest{};
};

std::string name_of(const report::Chart& chart) {
  return to_string(chart.place) + " " + to_string(chart.tape);
}

const char* finding_class(TapeFinding finding) {
  switch (finding) {
    case TapeFinding::roomy:
      return "roomy";
    case TapeFinding::unused:
      return "unused";
    case TapeFinding::spilled:
      return "spilled";
    case TapeFinding::refused:
      return "refused";
    default:
      return "fits";
  }
}

void set_header(Data& page, const Contents& contents) {
  const Recording& recording = contents.recording;
  const std::uint64_t lost =
      recording.taken - std::min<std::uint64_t>(recording.taken, recording.samples());
  page.set("layout", printable(recording.layout));
  page.set("samples", std::to_string(recording.samples()));
  page.set("span", time_text(contents.span.end - contents.span.begin));
  if (lost != 0) page.set("lost", std::to_string(lost));
  page.set("passes", std::to_string(contents.newest.passes));
  page.set("conversations", std::to_string(contents.newest.conversations));
  page.set("longest", std::to_string(internal::longest_talk(contents.newest)));
}

void set_advice(Data& page, const Contents& contents) {
  const Advice advice = advise(contents.recording);
  List items;
  for (const TapeAdvice& tape : advice.tapes) {
    Data item;
    item.set("finding", finding_class(tape.finding));
    item.set("text", tape.text);
    items.push_back(item);
  }
  page.set("advice", Data(items));
  if (!advice.text.empty()) page.set("talks_advice", advice.text);
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
  Data data;
  data.set("index", std::to_string(index));
  data.set("name", name_of(chart));
  data.set("filled", chart.by_tokens ? "filled by tokens" : "in use");
  data.set("most", to_iec(most));
  data.set("reserved", to_iec(newest.reserved));
  data.set("top", to_iec(chart.top == 1 ? 0 : chart.top));
  data.set("end", time_text(contents.span.end - contents.span.begin));
  data.set("committed_area", chart.committed_area);
  data.set("in_use_area", chart.in_use_area);
  data.set("peak_line", chart.peak_line);
  if (newest.planned != 0) data.set("planned_text", to_iec(newest.planned));
  if (chart.planned != 0) data.set("planned_y", std::to_string(report::y(chart, chart.planned)));
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
    Data cell;
    cell.set("id", column.id + "." + field.name);
    cell.set("value", std::to_string(value));
    cell.set("text", value_text(field.unit, value));
    cells.push_back(cell);
  }
  std::string words = field.name;
  std::replace(words.begin(), words.end(), '_', ' ');
  Data row;
  row.set("name", words);
  row.set("help", field.help);
  row.set("cells", Data(cells));
  return row;
}

/// A row for each figure of a list.
template <class Figures>
Data table(std::span<const StatField<Figures>> fields,
           const std::vector<TableColumn<Figures>>& columns) {
  List rows;
  for (const StatField<Figures>& field : fields) rows.push_back(row(field, columns));
  List heads;
  for (const TableColumn<Figures>& column : columns) heads.push_back(Data("name", column.name));
  Data table;
  table.set("columns", Data(heads));
  table.set("rows", Data(rows));
  return table;
}

void set_charts(Data& page, const Contents& contents) {
  if (contents.charts.empty()) return;
  page.set("has_charts", Data::type::bool_true);
  List charts;
  std::vector<TableColumn<TapeStat>> of_tapes;
  for (const report::Chart& chart : contents.charts) {
    const TapeStat& tape = internal::tape_of(contents.newest, chart.place, chart.tape);
    charts.push_back(chart_data(chart, charts.size(), contents, tape));
    const internal::FigureOwner owner = {chart.place, chart.tape};
    of_tapes.push_back({name_of(chart), to_string(owner), tape});
  }
  std::vector<TableColumn<DeviceStat>> of_devices;
  for (std::size_t i = 0; i < contents.recording.gpus; ++i) {
    const std::string place = to_string(Place::gpu(i));
    of_devices.push_back({place, place, contents.newest.gpu[i]});
  }
  List tables = {table(tape_fields(), of_tapes)};
  if (!of_devices.empty()) tables.push_back(table(device_fields(), of_devices));
  page.set("charts", Data(charts));
  page.set("tables", Data(tables));
}

std::string colour_of(std::size_t phase) { return std::to_string(phase % kPhaseColours); }

void set_phases(Data& page, const Contents& contents) {
  const report::PhasesPicture& picture = contents.picture;
  if (picture.names.empty()) return;
  page.set("has_phases", Data::type::bool_true);
  List phases;
  for (std::size_t i = 0; i < picture.names.size(); ++i) {
    const report::NamedPhase& phase = picture.names[i];
    Data data;
    data.set("name", printable(phase.name));
    data.set("colour", colour_of(i));
    data.set("times", std::to_string(phase.times));
    data.set("total", std::to_string(phase.total));
    data.set("total_text", time_text(phase.total));
    data.set("each_text", time_text(phase.total / phase.times));
    phases.push_back(data);
  }
  std::size_t depths = 0;
  List bands;
  for (const report::Band& band : picture.bands) {
    depths = std::max(depths, band.depth + 1);
    Data data;
    data.set("name", printable(picture.names[band.name].name));
    data.set("colour", colour_of(band.name));
    data.set("x", std::to_string(band.x));
    data.set("y", std::to_string(band.depth * kBandHeight));
    data.set("width", std::to_string(band.width));
    bands.push_back(data);
  }
  page.set("phases", Data(phases));
  page.set("bands", Data(bands));
  page.set("phases_height", std::to_string(depths * kBandHeight));
}

void set_frame(Data& page) {
  page.set("style", std::string(report::kStyle));
  page.set("script", std::string(report::kScript));
  page.set("style_hash", report::base64_of_hex(report::kStyleHash));
  page.set("script_hash", report::base64_of_hex(report::kScriptHash));
  page.set("recording_version", std::to_string(kRecordingVersion));
  page.set("version", std::to_string(TAPEDECK_VERSION_MAJOR) + "." +
                          std::to_string(TAPEDECK_VERSION_MINOR) + "." +
                          std::to_string(TAPEDECK_VERSION_PATCH));
}

}  // namespace

std::string report_html(const Recording& recording) {
  const Contents contents(recording);
  Data page;
  set_frame(page);
  set_header(page, contents);
  set_advice(page, contents);
  set_charts(page, contents);
  set_phases(page, contents);
  const List sections = report::region_sections(recording);
  if (!sections.empty()) page.set("has_tapes", Data::type::bool_true);
  page.set("tapes", Data(sections));
  page.set("data", readouts(contents));
  return kainjow::mustache::mustache(std::string(report::kPage)).render(page);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
