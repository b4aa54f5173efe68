/// @file
/// Sleeping until a word changes. `std::atomic::wait` is not used: it may call sched_yield, and a
/// decode step makes no system call but this one.
#pragma once

#include <atomic>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Sleeps while `word` is `seen`; may wake for no reason.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen) noexcept;
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

}  // namespace tapedeck::internal::os
