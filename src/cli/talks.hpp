/// @file
/// Talks that are held, one after the other: on standard output, and on standard error how that
/// went.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "cli/decode_telemetry.hpp"
#include "llama/sampler.hpp"
#include "llama/talk_decoder.hpp"
#include "llama/tokenizer.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::cli {

/// What all talks need, wherever they are computed.
struct Talks {
  const llama::Tokenizer& tokenizer;
  llama::Sampler sampler;
  const std::atomic<bool>& stop;
  std::size_t positions;  ///< Of each, as `llama::positions_for` is asked.
  bool ids = false;       ///< Printed instead of text.
  bool stat = false;      ///< Where the memory stands is shown.
  std::vector<std::vector<llama::TokenId>> prompts{};
};

/// Holds them until somebody has enough. Returns the exit code. However it ends, what was recorded
/// is kept.
[[nodiscard]] int hold_talks(Talks& talks, llama::TalkDecoder& decoder, const Layout& layout,
                             DecodeTelemetry& telemetry);

}  // namespace tapedeck::cli
