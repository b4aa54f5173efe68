/// @file
/// The part of a report about the plan's regions.
#pragma once

#include <kainjow/mustache.hpp>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::internal::report {

/// Of each tape that has regions: as the page's section `tapes` wants it.
[[nodiscard]] kainjow::mustache::list region_sections(const Recording& recording);

}  // namespace tapedeck::internal::report
