/// @file
/// Processes: which one it is, whether it lives, and what it has cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/meminfo.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Of /proc/PID/stat.
struct ProcessStat {
  bool alive = false;  ///< Not a zombie either.
  /// Ticks from the host's start to its own: tells a number's next owner.
  std::uint64_t start = 0;
  FaultCount faults{};
  int error = 0;          ///< errno, where the kernel does not tell: ENOENT for no such process,
  const char* call = "";  ///< and whose it is.
};

/// EINVAL for a text that is none of the kernel's.
[[nodiscard]] ProcessStat process_stat(const std::string& process, const KernelRoots& roots = {});

[[nodiscard]] std::int32_t process_id() noexcept;
/// Of the calling thread.
[[nodiscard]] std::int32_t thread_id() noexcept;

/// The namespace that this process's number is one of; 0 where the kernel does not tell.
[[nodiscard]] std::uint64_t pid_namespace() noexcept;

/// The arguments that this process was started with, its program first; empty if /proc does not
/// give them.
[[nodiscard]] std::vector<std::string> process_arguments(const KernelRoots& roots = {});

/// The name of this host; empty if the kernel does not give it.
[[nodiscard]] std::string host_name();

}  // namespace tapedeck::internal::os
