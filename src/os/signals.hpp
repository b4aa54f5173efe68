/// @file
/// Signals that ask a program to end.
#pragma once

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// From now on SIGINT and SIGTERM call `handler`, and system calls they interrupt give EINTR. In a
/// handler only what is async-signal-safe may be done; this function is.
void on_interrupt(void (*handler)(int)) noexcept;

/// From now on writing to a pipe nobody reads gives EPIPE instead of ending the process.
void ignore_broken_pipes() noexcept;

}  // namespace tapedeck::internal::os
