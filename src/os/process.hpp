// SPDX-License-Identifier: Apache-2.0
/// @file
/// The identity of a process, whether it is alive, and its page faults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/meminfo.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Values of /proc/PID/stat.
struct ProcessStat {
  bool alive = false;  ///< False for a zombie.
  /// Ticks from the boot of the host to the start of the process. Distinguishes processes that
  /// have had the same ID.
  std::uint64_t start = 0;
  FaultCount faults{};
  int error = 0;          ///< errno if it failed, ENOENT if there is no such process.
  const char* call = "";  ///< The call that failed.
};

/// Reads /proc/PID/stat. The error is EINVAL if the text does not have the kernel's format.
[[nodiscard]] ProcessStat process_stat(const std::string& process, const KernelRoots& roots = {});

[[nodiscard]] std::int32_t process_id() noexcept;
/// The ID of the calling thread.
[[nodiscard]] std::int32_t thread_id() noexcept;

/// The PID namespace of this process; 0 if it is unknown.
[[nodiscard]] std::uint64_t pid_namespace() noexcept;

/// The arguments that this process was started with, its program first; empty if /proc does not
/// give them.
[[nodiscard]] std::vector<std::string> process_arguments(const KernelRoots& roots = {});

/// The name of this host; empty if the kernel does not give it.
[[nodiscard]] std::string host_name();

}  // namespace tapedeck::internal::os
