// SPDX-License-Identifier: Apache-2.0
/// @file
/// The texts of `tapedeck top`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/top_rates.hpp"
#include "os/process.hpp"
#include "os/terminal.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/live/stat_reader.hpp"

namespace tapedeck::cli {
namespace os = internal::os;

/// A layout at one moment.
struct Look {
  PublishedLayout published{};
  std::string refused{};  ///< Why it cannot be read; empty if it can.
  PublisherState state = PublisherState::unknown;
  std::optional<PublishedStat> now{};  ///< Nothing if no consistent record was read.
  os::ProcessMemory memory{};
  std::optional<os::FaultCount> faults{};
  std::optional<Rates> rates{};  ///< Unknown until there are two samples.
};

struct Line {
  std::string text;
  bool heading = false;  ///< Shown in reverse video.
};

/// The layouts in a window of this size: one line for each row of the window, at most as long as
/// the window is wide. Headings fill the width.
/// @param note  what the first line says; none if it is empty.
[[nodiscard]] std::vector<Line> lines_in_window(std::span<const Look> looks,
                                                const std::string& note, os::WindowSize window);

/// The layouts as text of any length, for a window 80 columns wide.
[[nodiscard]] std::string looks_text(std::span<const Look> looks);

/// A layout in one line, for output that is not a terminal.
[[nodiscard]] std::string look_line(const Look& look);

}  // namespace tapedeck::cli
