// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/fit/budget.hpp"

#include <algorithm>
#include <cerrno>

#include "base/amounts.hpp"
#include "os/limits.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;

HostBudget HostBudget::after_mapping(std::uint64_t bytes) const {
  HostBudget out = *this;
  for (MemoryLimit& one : out.limits) {
    if (!one.mapped) continue;
    one.used = internal::saturated_sum(one.used, bytes);
    if (one.available() >= out.available) continue;
    out.available = one.available();
    out.limit = one.name;
  }
  std::ranges::stable_sort(out.limits, {}, &MemoryLimit::available);
  return out;
}

HostBudget host_budget(const KernelRoots& roots) {
  HostBudget budget;
  budget.limits = os::memory_limits(roots);
  if (budget.limits.empty() || budget.limits.front().name != "MemAvailable") {
    throw SystemError({.call = "read", .number = ENODATA, .path = roots.proc + "/meminfo"},
                      "it does not contain MemAvailable; check that /proc is mounted");
  }
  std::ranges::stable_sort(budget.limits, {}, &MemoryLimit::available);
  budget.available = budget.limits.front().available();
  budget.limit = budget.limits.front().name;
  budget.lockable = os::memlock_limit(roots);
  budget.nodes = os::numa_nodes(roots);
  return budget;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
