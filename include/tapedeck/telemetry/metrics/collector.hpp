// SPDX-License-Identifier: Apache-2.0
/// @file
/// `LayoutCollector`: exports layouts through a host's own prometheus-cpp exposer.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/metrics/metrics.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Supplies prometheus-cpp with the metrics of `metrics_text`, computed at each scrape. The layouts
/// and their phases must outlive it. A prometheus-cpp registry holds it weakly: reset the shared
/// pointer before the layouts go, while no scrape is running (`MetricsServer` takes care of both).
///
/// Thread-safety: any thread, while the layouts' writers work.
///
/// @code{.cpp}
/// #include <tapedeck/telemetry/metrics/collector.hpp>
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// auto collector = std::make_shared<LayoutCollector>(std::vector<WatchedLayout>{{&layout,
/// "chat"}});
/// // exposer.RegisterCollectable(collector);
/// assert(!collector->Collect().empty());
/// @endcode
class LayoutCollector : public prometheus::Collectable {
 public:
  /// @throws InvalidArgument if two layouts have the same name, or if one is null.
  explicit LayoutCollector(std::vector<WatchedLayout> layouts, SnapshotOptions options = {});

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  std::vector<WatchedLayout> layouts_;
  SnapshotOptions options_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
