/// @file
/// `DecodeTelemetry`: who watches a layout that decodes.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/metrics_server.hpp"
#include "tapedeck/telemetry/stat_publisher.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::inline TAPEDECK_ABI::cli {

/// What was asked for; all of it may be.
struct TelemetryOptions {
  std::optional<std::string> metrics{};  ///< Served at this address.
  std::string publish{};                 ///< By this name; empty: not.
};

void add_options(CLI::App& command, TelemetryOptions& options);

/// Shows a layout to others, while talks are held. Thread-safety: the layout's writer.
class DecodeTelemetry {
 public:
  /// Of a layout, which outlives it. Says where metrics are served.
  /// @param files  of the model, whose pages in the page cache are counted.
  /// @throws what `MetricsServer` and `StatPublisher` do.
  DecodeTelemetry(const TelemetryOptions& options, Layout& layout,
                  std::span<const WeightsFile> files);

  /// A pass has ended.
  void pass() noexcept;

 private:
  std::optional<StatPublisher> publisher_;
  std::optional<MetricsServer> server_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI::cli
