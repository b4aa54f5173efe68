#include "cli/decode_telemetry.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "cli/output.hpp"

namespace tapedeck::inline TAPEDECK_ABI::cli {
namespace {

constexpr const char* kName = "decode";  // of the layout

SnapshotOptions scraped(std::span<const WeightsFile> files) {
  ProcessOptions process;
  for (const WeightsFile& file : files) process.model_files.push_back(file.path);
  return {.devices = true, .process = std::move(process)};
}

}  // namespace

void add_options(CLI::App& command, TelemetryOptions& options) {
  command
      .add_option("--metrics", options.metrics,
                  "Serve where the memory stands for Prometheus, at this address; without a HOST at"
                  " 127.0.0.1; PORT 0: any")
      ->option_text("[HOST]:PORT");
  // A flag, so that what follows it is still the model.
  command.add_flag("--publish{decode}", options.publish,
                   "Let `tapedeck top` see where the memory stands; --publish=NAME: by this name"
                   " [decode]");
}

DecodeTelemetry::DecodeTelemetry(const TelemetryOptions& options, Layout& layout,
                                 std::span<const WeightsFile> files) {
  if (!options.publish.empty()) publisher_.emplace(layout, options.publish);
  if (!options.metrics) return;
  server_.emplace(std::vector<WatchedLayout>{{&layout, kName}}, *options.metrics, scraped(files));
  tell(fmt::format("metrics at http://{}/metrics\n", server_->address()));
}

void DecodeTelemetry::pass() noexcept {
  if (publisher_) publisher_->publish();
}

}  // namespace tapedeck::inline TAPEDECK_ABI::cli
