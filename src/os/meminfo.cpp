// SPDX-License-Identifier: Apache-2.0
#include "os/meminfo.hpp"

#include <sys/resource.h>

#include "os/proc_text.hpp"

namespace tapedeck::internal::os {

std::optional<std::size_t> resident_bytes(const KernelRoots& roots) {
  return kib_of(read_text(roots.proc + "/self/status"), "VmRSS:");
}

ProcessMemory process_memory(const KernelRoots& roots, const std::string& process) {
  const std::string status = read_text(roots.proc + "/" + process + "/status");
  return {.anonymous = kib_of(status, "RssAnon:"),
          .file = kib_of(status, "RssFile:"),
          .shared = kib_of(status, "RssShmem:"),
          .peak = kib_of(status, "VmHWM:"),
          .swapped = kib_of(status, "VmSwap:"),
          .hugetlb = kib_of(status, "HugetlbPages:")};
}

std::optional<std::size_t> anon_huge_bytes(const KernelRoots& roots) {
  return kib_of(read_text(roots.proc + "/self/smaps_rollup"), "AnonHugePages:");
}

FaultCount page_faults() noexcept {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return {};
  return {.minor = static_cast<std::uint64_t>(usage.ru_minflt),
          .major = static_cast<std::uint64_t>(usage.ru_majflt)};
}

}  // namespace tapedeck::internal::os
