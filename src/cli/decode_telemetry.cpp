#include "cli/decode_telemetry.hpp"

#include <fmt/format.h>

#include <sstream>
#include <utility>
#include <vector>

#include "cli/output.hpp"
#include "tapedeck/base/bytes.hpp"
#include "telemetry/snapshot/phase_peaks.hpp"

namespace tapedeck::cli {
namespace {

constexpr const char* kName = "decode";  // of the layout
constexpr std::size_t kMostSamples = 16'384;

std::optional<Recorder> recorder_for(const TelemetryOptions& options, Layout& layout) {
  if (!options.record) return std::nullopt;
  return std::optional<Recorder>(std::in_place, layout,
                                 RecorderOptions{.name = kName, .samples = kMostSamples});
}

SnapshotOptions scraped(std::span<const WeightsFile> files) {
  ProcessOptions process;
  for (const WeightsFile& file : files) process.model_files.push_back(file.path);
  return {.devices = true, .process = std::move(process)};
}

// "phase prefill: entered 1, passes 3; peaks: host scratch 1 KiB, host history 4 KiB". A tape that
// had nothing in it is left out, as those of the host are where all is on a device.
std::string phase_line(const PhaseFigures& phase) {
  std::string counted;
  for (const StatField<PhaseFigures>& field : phase_fields()) {
    counted += fmt::format("{}{} {}", counted.empty() ? "" : ", ", field.name, field.of(phase));
  }
  std::string peaks;
  internal::for_each_peak(phase, [&](Place place, TapeKind tape, std::uint64_t bytes) {
    if (bytes == 0) return;
    peaks += fmt::format("{}{} {} {}", peaks.empty() ? "; peaks: " : ", ", to_string(place),
                         to_string(tape), to_iec(bytes));
  });
  return fmt::format("phase {}: {}{}\n", phase.name, counted, peaks);
}

}  // namespace

void add_telemetry_options(CLI::App& command, TelemetryOptions& options) {
  command
      .add_option("--metrics", options.metrics,
                  "Serve where the memory stands for Prometheus, at this address; without a HOST at"
                  " 127.0.0.1; PORT 0: any")
      ->option_text("[HOST]:PORT");
  // A flag, so that what follows it is still the model.
  command.add_flag("--publish{decode}", options.publish,
                   "Let `tapedeck top` see where the memory stands; --publish=NAME: by this name"
                   " [decode]");
  command
      .add_option("--record", options.record,
                  fmt::format("Write how the memory went to this file in the end, as JSON lines: a"
                              " sample after each pass, the newest {} of them, and the phases",
                              kMostSamples))
      ->option_text("FILE");
}

DecodeTelemetry::DecodeTelemetry(const TelemetryOptions& options, Layout& layout,
                                 std::span<const WeightsFile> files)
    : recorder_(recorder_for(options, layout)), phases_(layout, recorder_ ? &*recorder_ : nullptr) {
  phase_.emplace(phases_, "load");
  if (options.record) recording_.emplace(*options.record);
  if (!options.publish.empty()) publisher_.emplace(layout, options.publish);
  if (!options.metrics) return;
  server_.emplace(std::vector<WatchedLayout>{{&layout, kName, &phases_}}, *options.metrics,
                  scraped(files));
  tell(fmt::format("metrics at http://{}/metrics\n", server_->address()));
}

void DecodeTelemetry::enter(llama::TalkPhase phase) noexcept {
  phase_.emplace(phases_, to_string(phase));
}

void DecodeTelemetry::pass() noexcept {
  if (publisher_) publisher_->publish();
  if (recorder_) recorder_->pass();
}

void DecodeTelemetry::end_talk() noexcept { phase_.reset(); }

std::string DecodeTelemetry::phases_text() const {
  std::string text;
  for (const PhaseFigures& phase : phases_.figures()) text += phase_line(phase);
  return text;
}

void DecodeTelemetry::save() {
  if (!recorder_) return;
  std::ostringstream lines;
  recorder_->write(lines);
  recording_->write(std::as_bytes(std::span(lines.view())));
  recording_->put_in_place();
}

}  // namespace tapedeck::cli
