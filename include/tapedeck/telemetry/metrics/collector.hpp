/// @file
/// `LayoutCollector`: layouts as a source of a host's own prometheus-cpp exposer.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/metrics/metrics.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Gives prometheus-cpp what `metrics_text` tells, afresh at each scrape. The layouts and their
/// phases must outlive it: a registry of prometheus-cpp holds it weakly, so reset the shared
/// pointer first, and let no scrape be running then (`MetricsServer` sees to both).
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
  /// @throws InvalidArgument where two layouts have one name, or one is null.
  explicit LayoutCollector(std::vector<WatchedLayout> layouts, SnapshotOptions options = {});

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  std::vector<WatchedLayout> layouts_;
  SnapshotOptions options_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
