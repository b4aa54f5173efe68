/// @file
/// `DecodeTelemetry`: who watches a layout that decodes.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>

#include "llama/talk.hpp"
#include "os/new_file.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"
#include "tapedeck/telemetry/metrics/metrics_server.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::cli {

/// What was asked for; all of it may be.
struct TelemetryOptions {
  std::optional<std::string> metrics{};  ///< Served at this address.
  std::string publish{};                 ///< By this name; empty: not.
  std::optional<std::string> record{};   ///< To this file.
};

void add_telemetry_options(CLI::App& command, TelemetryOptions& options);

/// Shows a layout to others while it decodes, and keeps how that went: in phases, `load` from here
/// on, then those of each talk; and as a recording. Thread-safety: the layout's writer.
class DecodeTelemetry {
 public:
  /// Of a layout, which outlives it. Says where metrics are served.
  /// @param files  of the model, whose pages in the page cache are counted.
  /// @throws what `MetricsServer`, `StatPublisher` and `NewFile` do: what cannot be had is told
  /// before anything is decoded.
  DecodeTelemetry(const TelemetryOptions& options, Layout& layout,
                  std::span<const WeightsFile> files);

  void enter(llama::TalkPhase phase) noexcept;
  /// A pass has ended, and is cleared.
  void pass() noexcept;
  void end_talk() noexcept;

  /// A line for each phase.
  [[nodiscard]] std::string phases_text() const;
  /// Puts the recording where it belongs, if there is one. @throws as `NewFile`
  void save();

 private:
  std::optional<Recorder> recorder_;
  std::optional<internal::NewFile> recording_;
  Phases phases_;
  std::optional<PhaseScope> phase_;
  std::optional<StatPublisher> publisher_;
  std::optional<MetricsServer> server_;  // whose threads read the phases, and go first
};

}  // namespace tapedeck::cli
