/// @file
/// What `tapedeck top` shows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "os/process.hpp"
#include "os/terminal.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/live/stat_reader.hpp"

namespace tapedeck::cli {
namespace os = internal::os;

/// What has happened in a second, on average over the last few.
struct Rates {
  double passes = 0;
  double minor_faults = 0;
  double major_faults = 0;
};

/// A layout at one moment.
struct Look {
  PublishedLayout published{};
  std::string refused{};  ///< Why there is nothing more to tell.
  PublisherState state = PublisherState::unknown;
  std::optional<PublishedStat> now{};  ///< Nothing where it never held still.
  os::ProcessMemory memory{};
  std::optional<os::FaultCount> faults{};
  std::optional<Rates> rates{};  ///< Nothing at first.
};

struct Line {
  std::string text;
  bool heading = false;  ///< Shown in reverse.
};

/// All of them in a window of this size: a line for each of its rows, none longer than it is wide.
/// Headings are as wide.
[[nodiscard]] std::vector<Line> lines_in_window(std::span<const Look> looks, os::WindowSize window);

/// The same as text, as long as it is, for a window of the usual width.
[[nodiscard]] std::string looks_text(std::span<const Look> looks);

/// One of them in one line, for what is no terminal.
[[nodiscard]] std::string look_line(const Look& look);

}  // namespace tapedeck::cli
