// SPDX-License-Identifier: Apache-2.0
/// @file
/// `MetricsServer`: an HTTP server for Prometheus to scrape.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/metrics/metrics.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What a `MetricsServer` allows its clients, so that none of them keeps it from answering a
/// scrape.
struct MetricsServerLimits {
  /// Connections at once; more wait until one is closed. Each costs a descriptor and 32 KiB while
  /// it is served, so the default is far below what hosts allow, and far above the few scrapers
  /// that a server has.
  unsigned connections = 256;
  /// Connections at once from one address; more are closed at once. 0 means no limit, which is the
  /// default because all clients behind loopback or a proxy have the same address. Set it if others
  /// can reach the address.
  unsigned connections_per_address = 0;
  /// After this long without a byte a connection is closed. Prometheus gives up a scrape after ten
  /// seconds by default, so one that has to wait until silent connections are closed is answered in
  /// time. At least a second, at most a day.
  std::chrono::seconds idle = std::chrono::seconds(5);
};

/// Answers `GET` and `HEAD` of `/metrics` with what `metrics_text` returns, computed at each
/// scrape. It serves from one thread of its own (libmicrohttpd), does not delay the layouts'
/// writers and changes no signal handler. An answer ends its connection. It has neither TLS nor a
/// password: beyond loopback, put a proxy in front of it.
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
  /// @throws InvalidArgument for an invalid address, for a limit of 0 connections or an idle time
  /// below a second, and for layouts that `LayoutCollector` refuses; Unsupported if this library
  /// was built without Prometheus metrics; SystemError if it cannot listen there: EADDRINUSE,
  /// EADDRNOTAVAIL, EACCES.
  MetricsServer(std::vector<WatchedLayout> layouts, const std::string& address,
                SnapshotOptions options = {}, MetricsServerLimits limits = {});
  /// Closes all connections; it waits for none of them, only for the figures of a scrape that is
  /// being computed. A forked child does not serve; there, only this destructor and
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
