// SPDX-License-Identifier: Apache-2.0
/// @file
/// `report_html`: a recording as an HTML page.
#pragma once

#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Returns one self-contained HTML page: the run (date, host, model and command line, as far as the
/// recording has them), advice, each tape over time, the phases, the values at the end, and the
/// planned regions with how much of each was used. At the pointer, or at the cursor that the arrow
/// keys move, a chart shows its values with their time and phase. The page loads nothing from the
/// network, follows the reader's light or dark mode, and fits a phone. Where several samples share
/// a pixel, it shows their maximum. Texts from the recording are escaped, shortened and never run.
///
/// The page lists at most 1000 regions of each tape, and at most 64 names of phases; it draws
/// phases that are nested at most four deep. It is usually about 100 KiB, and at most 1 MiB for
/// each tape. Time: O(samples + regions).
/// @throws Unsupported if Tapedeck was built without kainjow's mustache.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// Recorder recorder(layout, {.name = "chat"});
/// for (int token = 0; token < 10; ++token) {
///   (void)layout.scratch().take(100_KiB);
///   layout.clear_pass();
///   recorder.pass();
/// }
/// const std::string page = report_html(recorder.recording());
/// assert(page.find("scratch peaked at 9 % of what is reserved") != std::string::npos);
/// @endcode
[[nodiscard]] std::string report_html(const Recording& recording);

}  // namespace tapedeck::inline TAPEDECK_ABI
