// SPDX-License-Identifier: Apache-2.0
/// @file
/// `huge_page_trial`: measures whether huge pages help on this host. On some hosts they hurt.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block_options.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The result of `huge_page_trial`.
struct HugePageTrial {
  HugePages best = HugePages::never;
  std::size_t bytes = 0;           ///< Memory that was filled and read with each kind of page.
  double ordinary_seconds = 0;     ///< Time to fill and read fresh memory in ordinary pages.
  double transparent_seconds = 0;  ///< Time to fill and read fresh memory in huge pages.
  /// Bytes that huge pages really backed. 0 if the host has none; `best` is then `never`.
  std::size_t huge = 0;
};

/// Measures in the first call of a process, in about 0.1 s; later calls return the same. The trial
/// does what a load does: it populates memory, fills it and reads it once.
/// Thread-safety: any thread.
/// @code{.cpp}
/// using namespace tapedeck;
/// const HugePageTrial& trial = huge_page_trial();
/// assert(trial.huge != 0 || trial.best == HugePages::never);
/// @endcode
[[nodiscard]] const HugePageTrial& huge_page_trial();

}  // namespace tapedeck::inline TAPEDECK_ABI
