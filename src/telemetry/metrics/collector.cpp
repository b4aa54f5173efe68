// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/metrics/collector.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/json.hpp"
#include "layout/stat_walk.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Label = ClientMetric::Label;
using Labels = std::vector<Label>;

/// Prometheus requires base units: seconds, and ratios up to 1.
struct BaseUnit {
  const char* suffix;
  double parts;  ///< How many of our units make one of these.
};

/// One for each `StatUnit`.
constexpr auto kBaseUnits =
    std::to_array<BaseUnit>({{"_bytes", 1}, {"", 1}, {"", 1}, {"_seconds", 1e6}, {"_ratio", 1e4}});

/// Values, and the labels that identify what they describe.
template <class Figures>
struct Labeled {
  Labels labels;
  Figures figures;
};

/// Adds a family for each field of a list for which at least one value is known.
template <class Figures, class Value>
void add_families(std::vector<MetricFamily>& families, const char* prefix,
                  std::span<const StatField<Figures, Value>> fields,
                  const std::vector<Labeled<Figures>>& all) {
  for (const StatField<Figures, Value>& field : fields) {
    const bool counter = field.kind == StatKind::counter;
    const BaseUnit unit = kBaseUnits.at(static_cast<std::size_t>(field.unit));
    MetricFamily family;
    family.name = std::string(prefix) + field.name + unit.suffix + (counter ? "_total" : "");
    family.help = field.help;
    family.type = counter ? MetricType::Counter : MetricType::Gauge;
    for (const auto& [labels, figures] : all) {
      const std::optional<std::uint64_t> figure = field.known(figures);
      if (!figure) continue;
      ClientMetric& metric = family.metric.emplace_back();
      metric.label = labels;
      (counter ? metric.counter.value : metric.gauge.value) =
          static_cast<double>(*figure) / unit.parts;
    }
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
}

struct Peak {
  std::uint64_t bytes;
};

constexpr std::array kPeakFields = {StatField<Peak>{"peak", StatUnit::bytes, StatKind::gauge,
                                                    "The most that was used during the phase.",
                                                    &Peak::bytes}};

/// The values of all snapshots, grouped by the lists that describe them.
struct LabeledFigures {
  std::vector<Labeled<TapeStat>> tapes{};
  std::vector<Labeled<Stat>> layouts{};
  std::vector<Labeled<DeviceStat>> devices{};
  std::vector<Labeled<DeviceFigures>> device_memories{};
  std::vector<Labeled<PhaseFigures>> phases{};
  std::vector<Labeled<Peak>> peaks{};
  std::vector<Labeled<ProcessFigures>> process{};
};

/// A name as the value of a label. Invalid UTF-8 makes Prometheus reject the whole scrape, and its
/// parser takes a NUL for the end.
std::string label_text(const std::string& name) {
  std::string text = name;
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return nlohmann::json::parse(internal::json_text(nlohmann::json(text))).get<std::string>();
}

Label label_of(Place place) { return {"place", to_string(place)}; }
Label label_of(TapeKind tape) { return {"tape", to_string(tape)}; }

void add_snapshot(LabeledFigures& all, const Snapshot& snapshot) {
  const Label layout = {"layout", label_text(snapshot.layout)};
  all.layouts.push_back({{layout}, snapshot.stat});
  internal::for_each_tape(snapshot.stat, [&](Place place, TapeKind kind, const TapeStat& tape) {
    all.tapes.push_back({{layout, label_of(place), label_of(kind)}, tape});
  });
  for (std::size_t i = 0; i < snapshot.stat.gpus; ++i) {
    all.devices.push_back({{layout, label_of(Place::gpu(i))}, snapshot.stat.gpu[i]});
  }
  for (std::size_t i = 0; i < snapshot.devices.size(); ++i) {
    all.device_memories.push_back({{layout, label_of(Place::gpu(i))}, snapshot.devices[i]});
  }
  std::set<std::string> names;
  for (const PhaseFigures& phase : snapshot.phases) {
    const Label name = {"phase", label_text(phase.name)};
    // Of two names with the same label, only the first is kept: Prometheus rejects duplicates.
    if (!names.insert(name.value).second) continue;
    all.phases.push_back({{layout, name}, phase});
    internal::for_each_tape(
        phase.peaks, phase.gpus, [&](Place place, TapeKind tape, std::uint64_t bytes) {
          all.peaks.push_back({{layout, name, label_of(place), label_of(tape)}, {bytes}});
        });
  }
  if (snapshot.process && all.process.empty()) all.process.push_back({{}, *snapshot.process});
}

std::vector<MetricFamily> families_of(std::span<const Snapshot> snapshots) {
  LabeledFigures all;
  for (const Snapshot& snapshot : snapshots) add_snapshot(all, snapshot);
  std::vector<MetricFamily> families;
  add_families(families, "tapedeck_tape_", tape_fields(), all.tapes);
  add_families(families, "tapedeck_layout_", layout_fields(), all.layouts);
  add_families(families, "tapedeck_device_", device_fields(), all.devices);
  add_families(families, "tapedeck_device_", device_memory_fields(), all.device_memories);
  add_families(families, "tapedeck_phase_", phase_fields(), all.phases);
  add_families(families, "tapedeck_phase_", std::span<const StatField<Peak>>(kPeakFields),
               all.peaks);
  add_families(families, "tapedeck_process_", process_fields(), all.process);
  return families;
}

/// @throws InvalidArgument if two names give the same label, and so the same series.
void require_distinct_labels(std::vector<std::string> names) {
  std::ranges::transform(names, names.begin(), label_text);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice == names.end()) return;
  throw InvalidArgument({.argument = "name"}, "two layouts are named \"" + *twice + "\"",
                        "give each layout its own name");
}

}  // namespace

LayoutCollector::LayoutCollector(std::vector<WatchedLayout> layouts, SnapshotOptions options)
    : layouts_(std::move(layouts)), options_(std::move(options)) {
  std::vector<std::string> names;
  names.reserve(layouts_.size());
  for (const WatchedLayout& one : layouts_) {
    if (one.layout == nullptr) {
      throw InvalidArgument({.argument = "WatchedLayout::layout"}, "a layout to export is null",
                            "leave it out");
    }
    names.push_back(one.name);
  }
  require_distinct_labels(std::move(names));
  options_.talks = false;  // talks have no series
}

std::vector<prometheus::MetricFamily> LayoutCollector::Collect() const {
  std::vector<Snapshot> snapshots;
  snapshots.reserve(layouts_.size());
  SnapshotOptions options = options_;
  for (const WatchedLayout& one : layouts_) {
    options.phases = one.phases;
    snapshots.push_back(snapshot_of(*one.layout, one.name, options));
    options.process.reset();  // all layouts share one process, so it is queried once
  }
  return families_of(snapshots);
}

std::string metrics_text(std::span<const Snapshot> snapshots) {
  std::vector<std::string> names;
  names.reserve(snapshots.size());
  for (const Snapshot& snapshot : snapshots) names.push_back(snapshot.layout);
  require_distinct_labels(std::move(names));
  return prometheus::TextSerializer().Serialize(families_of(snapshots));
}

}  // namespace tapedeck::inline TAPEDECK_ABI
