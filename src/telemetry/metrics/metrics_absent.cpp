// SPDX-License-Identifier: Apache-2.0
// Replaces the metrics in a build without prometheus-cpp or libmicrohttpd.

#include <exception>

#include "tapedeck/base/error.hpp"
#include "tapedeck/telemetry/metrics/metrics.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

[[noreturn]] void throw_no_metrics() {
  throw Unsupported(
      "Prometheus metrics", "this build of Tapedeck has no Prometheus metrics",
      "install prometheus-cpp and libmicrohttpd, and build again (Debian: prometheus-cpp-dev "
      "libmicrohttpd-dev)");
}

}  // namespace

struct MetricsServer::State {};

// NOLINTNEXTLINE(performance-unnecessary-value-param): the real one keeps them
MetricsServer::MetricsServer(std::vector<WatchedLayout>, const std::string&, SnapshotOptions,
                             MetricsServerLimits) {
  throw_no_metrics();
}

MetricsServer::~MetricsServer() = default;

const std::string& MetricsServer::address() const noexcept { std::terminate(); }

std::string metrics_text(std::span<const Snapshot>) { throw_no_metrics(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
