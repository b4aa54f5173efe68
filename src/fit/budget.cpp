#include "tapedeck/fit/budget.hpp"

#include <algorithm>
#include <cerrno>

#include "os/proc.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace os = internal::os;
namespace {

MemoryLimit to_public(const os::MemoryLimit& limit) {
  return {
      .name = limit.name, .limit = limit.limit, .used = limit.used, .available = limit.available()};
}

}  // namespace

HostBudget host_budget(const BudgetRoots& roots) {
  const os::Roots from = {.proc = roots.proc, .cgroup = roots.sys + "/fs/cgroup", .sys = roots.sys};
  const std::vector<os::MemoryLimit> limits = os::memory_limits(from);
  if (limits.empty() || limits.front().name != "MemAvailable") {
    throw SystemError({.call = "read", .number = ENODATA, .path = roots.proc + "/meminfo"},
                      "it states no MemAvailable; is /proc mounted?");
  }
  HostBudget budget;
  for (const os::MemoryLimit& limit : limits) budget.limits.push_back(to_public(limit));
  std::stable_sort(
      budget.limits.begin(), budget.limits.end(),
      [](const MemoryLimit& a, const MemoryLimit& b) { return a.available < b.available; });
  budget.available = budget.limits.front().available;
  budget.limit = budget.limits.front().name;
  if (const auto lock = os::memlock_limit(from)) budget.lockable = to_public(*lock);
  for (const os::NumaNode& node : os::numa_nodes(from)) {
    budget.nodes.push_back({.id = node.id,
                            .total = node.total,
                            .free = node.free,
                            .reclaimable = node.reclaimable,
                            .allowed = node.allowed});
  }
  return budget;
}

TAPEDECK_ABI_END
}  // namespace tapedeck
