// SPDX-License-Identifier: Apache-2.0
/// @file
/// Calls that extend a file, under the limit of file sizes (ulimit -f).
#pragma once

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// While it exists, a call of this thread that would extend a file beyond the limit fails with
/// EFBIG alone. By default, the kernel also raises SIGXFSZ, which ends the process. Costs three
/// system calls. Thread-safety: for the thread that creates it.
class WithoutSizeSignal {
 public:
  WithoutSizeSignal() noexcept;
  /// Discards the signal if a call has raised it meanwhile.
  ~WithoutSizeSignal();
  WithoutSizeSignal(const WithoutSizeSignal&) = delete;
  WithoutSizeSignal& operator=(const WithoutSizeSignal&) = delete;

 private:
  bool was_blocked_;
};

}  // namespace tapedeck::internal::os
