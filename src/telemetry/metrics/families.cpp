#include "telemetry/metrics/families.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/json.hpp"
#include "tapedeck/base/error.hpp"
#include "telemetry/snapshot/phase_peaks.hpp"

namespace tapedeck::internal {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

/// Prometheus wants base units: seconds, and shares of one.
struct BaseUnit {
  const char* suffix;
  double parts;  ///< So many of ours are one.
};

BaseUnit base_unit(StatUnit unit) {
  switch (unit) {
    case StatUnit::bytes:
      return {"_bytes", 1};
    case StatUnit::microseconds:
      return {"_seconds", 1e6};
    case StatUnit::basis_points:
      return {"_ratio", 1e4};
    default:
      return {"", 1};
  }
}

/// The metrics of one row.
template <class Figures, class Value>
class FamilyOf {
 public:
  FamilyOf(const char* prefix, const StatField<Figures, Value>& field) : field_(field) {
    const bool counter = field.kind == StatKind::counter;
    family_.name =
        std::string(prefix) + field.name + base_unit(field.unit).suffix + (counter ? "_total" : "");
    family_.help = field.help;
    family_.type = counter ? MetricType::Counter : MetricType::Gauge;
  }

  void add(Labels labels, const Figures& figures) {
    const std::optional<std::uint64_t> figure = field_.of(figures);
    if (!figure) return;
    const double value = static_cast<double>(*figure) / base_unit(field_.unit).parts;
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }

  void append_to(std::vector<MetricFamily>& families) && {
    if (!family_.metric.empty()) families.push_back(std::move(family_));
  }

 private:
  const StatField<Figures, Value>& field_;
  MetricFamily family_;
};

void add_tapes(std::vector<MetricFamily>& families, std::span<const Snapshot> snapshots) {
  for (const StatField<TapeStat>& field : tape_fields()) {
    FamilyOf family("tapedeck_tape_", field);
    for (const Snapshot& snapshot : snapshots) {
      const std::string layout = label_text(snapshot.layout);
      for_each_tape(snapshot.stat, [&](Place place, TapeKind kind, const TapeStat& tape) {
        family.add({{"layout", layout}, {"place", to_string(place)}, {"tape", to_string(kind)}},
                   tape);
      });
    }
    std::move(family).append_to(families);
  }
}

void add_layouts(std::vector<MetricFamily>& families, std::span<const Snapshot> snapshots) {
  for (const StatField<Stat>& field : layout_fields()) {
    FamilyOf family("tapedeck_layout_", field);
    for (const Snapshot& snapshot : snapshots) {
      family.add({{"layout", label_text(snapshot.layout)}}, snapshot.stat);
    }
    std::move(family).append_to(families);
  }
}

void add_devices(std::vector<MetricFamily>& families, std::span<const Snapshot> snapshots) {
  for (const StatField<DeviceStat>& field : device_fields()) {
    FamilyOf family("tapedeck_device_", field);
    for (const Snapshot& snapshot : snapshots) {
      for (std::size_t i = 0; i < snapshot.stat.gpus; ++i) {
        family.add({{"layout", label_text(snapshot.layout)}, {"place", to_string(Place::gpu(i))}},
                   snapshot.stat.gpu[i]);
      }
    }
    std::move(family).append_to(families);
  }
  for (const DeviceMemoryField& field : device_memory_fields()) {
    FamilyOf family("tapedeck_device_", field);
    for (const Snapshot& snapshot : snapshots) {
      for (std::size_t i = 0; i < snapshot.devices.size(); ++i) {
        family.add({{"layout", label_text(snapshot.layout)}, {"place", to_string(Place::gpu(i))}},
                   snapshot.devices[i]);
      }
    }
    std::move(family).append_to(families);
  }
}

struct NamedPhase {
  Labels labels;
  const PhaseFigures& figures;
};

/// Of two names that are one as labels the first alone: Prometheus takes no series twice.
std::vector<NamedPhase> phases_of(std::span<const Snapshot> snapshots) {
  std::vector<NamedPhase> all;
  for (const Snapshot& snapshot : snapshots) {
    const std::string layout = label_text(snapshot.layout);
    std::set<std::string> names;
    for (const PhaseFigures& phase : snapshot.phases) {
      const auto [name, is_new] = names.insert(label_text(phase.name));
      if (is_new) all.push_back({{{"layout", layout}, {"phase", *name}}, phase});
    }
  }
  return all;
}

struct Peak {
  std::uint64_t bytes;
};

constexpr StatField<Peak> kPeak = {"peak", StatUnit::bytes, StatKind::gauge,
                                   "The most that was used meanwhile.", &Peak::bytes};

void add_phases(std::vector<MetricFamily>& families, std::span<const Snapshot> snapshots) {
  const std::vector<NamedPhase> phases = phases_of(snapshots);
  for (const StatField<PhaseFigures>& field : phase_fields()) {
    FamilyOf family("tapedeck_phase_", field);
    for (const NamedPhase& phase : phases) family.add(phase.labels, phase.figures);
    std::move(family).append_to(families);
  }
  FamilyOf peaks("tapedeck_phase_", kPeak);
  for (const NamedPhase& phase : phases) {
    for_each_peak(phase.figures, [&](Place place, TapeKind tape, std::uint64_t bytes) {
      Labels labels = phase.labels;
      labels.push_back({"place", to_string(place)});
      labels.push_back({"tape", to_string(tape)});
      peaks.add(std::move(labels), {bytes});
    });
  }
  std::move(peaks).append_to(families);
}

void add_process(std::vector<MetricFamily>& families, std::span<const Snapshot> snapshots) {
  const auto first = std::find_if(snapshots.begin(), snapshots.end(),
                                  [](const Snapshot& one) { return one.process.has_value(); });
  if (first == snapshots.end()) return;
  for (const ProcessField& field : process_fields()) {
    FamilyOf family("tapedeck_process_", field);
    family.add({}, *first->process);
    std::move(family).append_to(families);
  }
}

}  // namespace

std::vector<MetricFamily> families_of(std::span<const Snapshot> snapshots) {
  std::vector<MetricFamily> families;
  add_tapes(families, snapshots);
  add_layouts(families, snapshots);
  add_devices(families, snapshots);
  add_phases(families, snapshots);
  add_process(families, snapshots);
  return families;
}

std::string label_text(const std::string& name) {
  using Json = nlohmann::json;
  std::string text = name;
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return Json::parse(json_text(Json(text))).get<std::string>();
}

void require_distinct(std::span<const std::string> names) {
  std::vector<std::string> labels;
  labels.reserve(names.size());
  for (const std::string& name : names) labels.push_back(label_text(name));
  std::sort(labels.begin(), labels.end());
  const auto twice = std::adjacent_find(labels.begin(), labels.end());
  if (twice == labels.end()) return;
  throw InvalidArgument({.argument = "name"}, "two layouts have the name \"" + *twice + "\"",
                        "give each one a name of its own");
}

}  // namespace tapedeck::internal
