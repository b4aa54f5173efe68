// SPDX-License-Identifier: Apache-2.0
/// @file
/// Handling of Ctrl-C (SIGINT) and SIGTERM.
#pragma once

#include <atomic>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::cli {

/// Makes SIGINT and SIGTERM end the program at once, for phases in which there is nothing to clean
/// up.
void end_on_interrupt() noexcept;

/// Makes the first signal set the returned flag, and the second one end the program at once.
[[nodiscard]] const std::atomic<bool>& stop_on_interrupt() noexcept;

/// Makes signals set the returned flag without ending the program, for commands that must restore
/// the terminal and check the flag often.
[[nodiscard]] const std::atomic<bool>& note_interrupts() noexcept;

}  // namespace tapedeck::cli
