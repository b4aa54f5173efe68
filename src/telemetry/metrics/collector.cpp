#include "tapedeck/telemetry/metrics/collector.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "tapedeck/base/error.hpp"
#include "telemetry/metrics/families.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

LayoutCollector::LayoutCollector(std::vector<WatchedLayout> layouts, SnapshotOptions options)
    : layouts_(std::move(layouts)), options_(std::move(options)) {
  std::vector<std::string> names;
  names.reserve(layouts_.size());
  for (const WatchedLayout& one : layouts_) {
    if (one.layout == nullptr) {
      throw InvalidArgument({.argument = "WatchedLayout::layout"}, "a layout to watch is null",
                            "leave it out");
    }
    names.push_back(one.name);
  }
  internal::require_distinct(names);
  options_.talks = false;  // they would have no series
}

std::vector<prometheus::MetricFamily> LayoutCollector::Collect() const {
  std::vector<Snapshot> snapshots;
  snapshots.reserve(layouts_.size());
  SnapshotOptions options = options_;
  for (const WatchedLayout& one : layouts_) {
    options.phases = one.phases;
    snapshots.push_back(snapshot_of(*one.layout, one.name, options));
    options.process.reset();  // one process: asked once
  }
  return internal::families_of(snapshots);
}

std::string metrics_text(std::span<const Snapshot> snapshots) {
  std::vector<std::string> names;
  names.reserve(snapshots.size());
  for (const Snapshot& snapshot : snapshots) names.push_back(snapshot.layout);
  internal::require_distinct(names);
  return prometheus::TextSerializer().Serialize(internal::families_of(snapshots));
}

}  // namespace tapedeck::inline TAPEDECK_ABI
