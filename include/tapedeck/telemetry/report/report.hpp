/// @file
/// `report_html`: a recording as a page to look at.
#pragma once

#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// One HTML page with everything in it: advice, each tape over time, phases, figures at the end,
/// the plan's regions and what of them was used. It asks nothing of any network, follows the
/// reader's light or dark mode, and has room on a phone. Samples that would be less than a pixel
/// are shown as the most among them. Whatever a recording has in its names is shown, and never run.
///
/// Of each tape at most 1000 regions are listed, and of phases at most 64 names, four deep: the
/// page has 1 MiB at most for each tape, and some 100 KiB mostly. O(regions), and for each sample
/// O(how many sizes the regions of histories have).
/// @throws Unsupported where Tapedeck was built without kainjow's mustache.
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
