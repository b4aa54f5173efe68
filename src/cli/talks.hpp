/// @file
/// Holds talks, one after the other: prints them to standard output and how they went to standard
/// error; publishes, serves and records where the memory stands meanwhile.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "llama/sampler.hpp"
#include "llama/talk_decoder.hpp"
#include "llama/tokenizer.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::cli {

/// The ways in which a layout can be watched while it decodes; any of them may be asked for.
struct TelemetryOptions {
  std::optional<std::string> metrics{};  ///< Served at this address.
  std::string publish{};                 ///< By this name; empty: not.
  std::optional<std::string> record{};   ///< To this file.
};

/// A recording keeps so many samples, the newest.
inline constexpr std::size_t kMostSamples = 16'384;

/// What all talks need, wherever they are computed.
struct Talks {
  const TelemetryOptions& telemetry;
  std::span<const WeightsFile> files;  ///< Whose pages in the page cache are counted.
  const llama::Tokenizer& tokenizer;
  llama::Sampler sampler;
  const std::atomic<bool>& stop;
  std::size_t positions;  ///< Of each, as `llama::positions_for` is asked.
  bool ids = false;       ///< Printed instead of text.
  bool stat = false;      ///< Where the memory stands is shown.
  std::vector<std::vector<llama::TokenId>> prompts{};
};

/// Calls `load`, where there is one, in the phase of that name, and holds the talks until the last
/// one ends, a signal comes, or the output is closed. Returns the exit code. However it ends, what
/// was recorded is kept.
/// @throws what `MetricsServer`, `StatPublisher` and `NewFile` do: what cannot be had is told
/// before anything is decoded.
[[nodiscard]] int hold_talks(Talks& talks, llama::TalkDecoder& decoder, Layout& layout,
                             const std::function<void()>& load = {});

}  // namespace tapedeck::cli
