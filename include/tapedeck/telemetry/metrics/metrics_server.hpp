/// @file
/// `MetricsServer`: what Prometheus scrapes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/metrics/metrics.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Answers `GET /metrics` with what `metrics_text` returns, computed afresh at each scrape. One
/// thread of its own serves (libmicrohttpd); the layouts' writers are not held up, and no signal's
/// handler changes. There is neither TLS nor a password: beyond loopback, put a proxy before it.
///
/// Thread-safety: any thread; it must go before the layouts and their phases do.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// Phases phases(layout);  // or without: {{&layout, "chat"}}
/// const MetricsServer server({{&layout, "chat", &phases}}, "127.0.0.1:0");  // any free port
/// std::cout << "scrape http://" << server.address() << "/metrics\n";
/// @endcode
class MetricsServer {
 public:
  /// @param address  HOST:PORT, where HOST is a name, an IPv4 address, an IPv6 address in brackets,
  /// or nothing, which is 127.0.0.1; PORT 0: one that is free.
  /// @throws InvalidArgument for an address that is none, and for layouts that `LayoutCollector`
  /// refuses; Unsupported where this library was built without metrics; SystemError where it
  /// cannot listen there: EADDRINUSE, EADDRNOTAVAIL, EACCES.
  MetricsServer(std::vector<WatchedLayout> layouts, const std::string& address,
                SnapshotOptions options = {});
  /// Waits for a scrape that runs.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// Where it listens: "127.0.0.1:9464", "[::1]:9464".
  [[nodiscard]] const std::string& address() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
