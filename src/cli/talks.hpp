// SPDX-License-Identifier: Apache-2.0
/// @file
/// Holds talks one after the other. Prints their text to standard output and statistics to standard
/// error, while publishing, serving and recording the layout's memory.
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

/// How to observe a layout while it decodes; the options may be combined.
struct TelemetryOptions {
  std::optional<std::string> metrics{};  ///< Serve Prometheus metrics at this address.
  std::string publish{};                 ///< Publish under this name; empty does not publish.
  std::optional<std::string> record{};   ///< Write a recording to this file.
  bool force = false;                    ///< The recording may replace an existing file.
};

/// The number of samples in a recording. When there are more, the oldest are dropped.
inline constexpr std::size_t kMostSamples = 16'384;

/// What all talks need, independent of where they are computed.
struct Talks {
  const TelemetryOptions& telemetry;
  std::span<const WeightsFile> files;  ///< Metrics count their pages in the page cache.
  const llama::Tokenizer& tokenizer;
  llama::Sampler sampler;
  const std::atomic<bool>& stop;
  std::size_t positions;  ///< Of each talk: the argument `asked` of `llama::positions_for`.
  bool ids = false;       ///< Print token ids instead of text.
  bool stat = false;      ///< Print statistics of the memory.
  std::vector<std::vector<llama::TokenId>> prompts{};
};

/// Calls `load`, if given, in the phase "load", and holds the talks until the last one ends, a
/// signal arrives, or the output is closed. Returns the exit code. The recording is written even if
/// decoding fails.
/// @throws the errors of `MetricsServer`, `StatPublisher` and `NewFile`, before anything is
/// decoded; the errors of `load` and of the decoder.
[[nodiscard]] int hold_talks(Talks& talks, llama::TalkDecoder& decoder, Layout& layout,
                             const std::function<void()>& load = {});

}  // namespace tapedeck::cli
