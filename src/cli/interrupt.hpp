/// @file
/// Ctrl-C.
#pragma once

#include <atomic>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

inline constexpr int kInterrupted = 130;  ///< The exit code, as shells know it.

/// From now on SIGINT and SIGTERM end the program at once: there is nothing to tidy up yet.
void end_on_interrupt() noexcept;

/// From now on the first signal sets the flag that is returned, and only the second ends the
/// program at once.
[[nodiscard]] const std::atomic<bool>& stop_on_interrupt() noexcept;

/// From now on signals set the flag that is returned, and none ends the program: for who has a
/// terminal to tidy up and looks at the flag often.
[[nodiscard]] const std::atomic<bool>& note_interrupts() noexcept;

}  // namespace tapedeck::cli
