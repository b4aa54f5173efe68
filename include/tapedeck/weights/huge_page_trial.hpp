/// @file
/// `huge_page_trial`: whether huge pages help on this host. They do on most, and hurt on some.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block_options.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What was measured.
struct HugePageTrial {
  HugePages best = HugePages::never;
  std::size_t bytes = 0;           ///< Of memory that was filled and read in each way.
  double ordinary_seconds = 0;     ///< To make it resident, fill and read it: ordinary pages,
  double transparent_seconds = 0;  ///< transparent huge pages.
  /// Bytes that huge pages really backed; 0 where the host has none, and nothing was to choose.
  std::size_t huge = 0;
};

/// Measures once in a process, by the first call that needs it, some 0.1 s; later calls give the
/// same. The way of a load is measured: populate, fill, read once.
/// Thread-safety: any thread.
/// @code{.cpp}
/// using namespace tapedeck;
/// const HugePageTrial& trial = huge_page_trial();
/// assert(trial.huge != 0 || trial.best == HugePages::never);
/// @endcode
[[nodiscard]] const HugePageTrial& huge_page_trial();

}  // namespace tapedeck::inline TAPEDECK_ABI
