// SPDX-License-Identifier: Apache-2.0
/// @file
/// Handling of Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which says that the terminal was closed.
#pragma once

#include <atomic>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Makes these signals end the program at once, for phases in which there is nothing to clean up.
void end_on_interrupt() noexcept;

/// Makes the first signal set the returned flag, and the second one end the program at once. SIGHUP
/// only sets the flag: the kernel and the shell both send it for one closed terminal.
[[nodiscard]] const std::atomic<bool>& stop_on_interrupt() noexcept;

/// Makes signals set the returned flag without ending the program, for commands that must restore
/// the terminal and check the flag often.
[[nodiscard]] const std::atomic<bool>& note_interrupts() noexcept;

}  // namespace tapedeck::cli
