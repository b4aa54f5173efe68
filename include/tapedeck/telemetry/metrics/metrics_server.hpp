// SPDX-License-Identifier: Apache-2.0
/// @file
/// `MetricsServer`: an HTTP server for Prometheus to scrape.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/metrics/metrics.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Answers `GET /metrics` with what `metrics_text` returns, computed at each scrape. It serves from
/// one thread of its own (libmicrohttpd), does not delay the layouts' writers and changes no signal
/// handler. It has neither TLS nor a password: beyond loopback, put a proxy in front of it.
///
/// Thread-safety: any thread. Destroy it before the layouts and their phases.
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
  /// or empty for 127.0.0.1. PORT 0 stands for any free port.
  /// @throws InvalidArgument for an invalid address, and for layouts that `LayoutCollector`
  /// refuses; Unsupported if this library was built without Prometheus metrics; SystemError if it
  /// cannot listen there: EADDRINUSE, EADDRNOTAVAIL, EACCES.
  MetricsServer(std::vector<WatchedLayout> layouts, const std::string& address,
                SnapshotOptions options = {});
  /// Waits for a running scrape. A forked child does not serve; there, only this destructor and
  /// `address` may be called.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  /// The address that it listens on: "127.0.0.1:9464", "[::1]:9464".
  [[nodiscard]] const std::string& address() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
