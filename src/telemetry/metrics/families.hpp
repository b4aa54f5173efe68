/// @file
/// Snapshots as families of metrics.
#pragma once

#include <prometheus/metric_family.h>

#include <span>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/snapshot/snapshot.hpp"

namespace tapedeck::internal {

[[nodiscard]] std::vector<prometheus::MetricFamily> families_of(
    std::span<const Snapshot> snapshots);

/// A name as the value of a label. What is no UTF-8 has Prometheus refuse the whole scrape, and its
/// reader takes a NUL for the end.
[[nodiscard]] std::string label_text(const std::string& name);

/// @throws InvalidArgument where two are the same as labels: their series would be.
void require_distinct(std::span<const std::string> names);

}  // namespace tapedeck::internal
