// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TapeStat`: the statistics of a tape at one moment.
#pragma once

#include <array>
#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block_options.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The statistics of a tape at one moment, as a plain struct. All sizes are in bytes. Each field is
/// described in its row of `tape_fields` (layout/stat_fields.hpp).
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape tape = Tape::start(1_MiB);
/// (void)tape.take(1000);
/// const TapeStat now = tape.stat();
/// assert(now.used == 1024 && now.reserved == 1_MiB);
/// @endcode
struct TapeStat {
  std::uint64_t reserved = 0;
  std::uint64_t committed = 0;
  std::uint64_t used = 0;
  std::uint64_t peak = 0;
  std::uint64_t planned = 0;
  std::uint64_t spilled = 0;
  std::uint64_t spilled_peak = 0;
  std::uint64_t spills = 0;
  std::uint64_t refused = 0;
  std::uint64_t grows = 0;
  std::uint64_t clears = 0;
  std::uint64_t page_size = 0;
  /// For each `Wish`, errno of the call that failed; 0 if it was granted or not requested.
  std::array<std::int32_t, kWishes> unmet{};
};

}  // namespace tapedeck::inline TAPEDECK_ABI
