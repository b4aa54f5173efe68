// SPDX-License-Identifier: Apache-2.0
#include "os/limits.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "os/cgroup.hpp"
#include "os/kept_pages.hpp"
#include "os/proc_text.hpp"

namespace tapedeck::internal::os {
namespace {

/// The limits of memory in RAM.
std::vector<MemoryLimit> resident_limits(const std::string& meminfo, const KernelRoots& roots) {
  const std::size_t kept = kept_bytes(roots);
  std::vector<MemoryLimit> limits;
  if (const auto available = kib_of(meminfo, "MemAvailable:")) {
    const std::size_t total = std::max(kib_of(meminfo, "MemTotal:").value_or(0), *available);
    // MemAvailable includes the file pages that the kernel could drop, as cgroup.cpp describes.
    const std::size_t kept_here =
        std::min({kept, kib_of(meminfo, "Mapped:").value_or(kept), *available});
    limits.push_back(
        {.name = "MemAvailable", .limit = total, .used = total - *available + kept_here});
  }
  add_cgroups(limits, roots, kept);
  return limits;
}

/// A cpuset that excludes some nodes limits memory to that of the others.
void add_cpuset(std::vector<MemoryLimit>& limits, const KernelRoots& roots) {
  // The pages that are kept may be on other nodes, but the kernel does not say on which.
  MemoryLimit bound = {.name = "cpuset, NUMA nodes", .used = kept_bytes(roots)};
  bool all = true;
  for (const NumaNode& node : numa_nodes(roots)) {
    all = all && node.allowed;
    if (!node.allowed) continue;
    bound.name += " " + std::to_string(node.id);
    bound.limit += node.total;
    bound.used += node.total - std::min(node.total, node.free + node.reclaimable);
  }
  if (!all) limits.push_back(std::move(bound));
}

/// Adds the limits of the memory that a process may map, in RAM or not.
void add_mapping_limits(std::vector<MemoryLimit>& limits, const std::string& meminfo,
                        const KernelRoots& roots) {
  const std::string rlimits = read_text(roots.proc + "/self/limits");
  const std::string status = read_text(roots.proc + "/self/status");
  add_limit(limits, "RLIMIT_AS", value_of(rlimits, "Max address space "),
            kib_of(status, "VmSize:").value_or(0));
  add_limit(limits, "RLIMIT_DATA", value_of(rlimits, "Max data size "),
            kib_of(status, "VmData:").value_or(0));
  if (read_number(roots.proc + "/sys/vm/overcommit_memory") == std::size_t{2}) {
    add_limit(limits, "CommitLimit", kib_of(meminfo, "CommitLimit:"),
              kib_of(meminfo, "Committed_AS:").value_or(0));
  }
}

/// Whether a list in the kernel's format ("0-3,8") contains the number.
bool list_has(std::string_view list, unsigned number) {
  return any_part(list, ',', [&](std::string_view range) {
    const std::size_t dash = std::min(range.find('-'), range.size());
    const auto first = parse<unsigned>(range);
    const auto last = dash < range.size() ? parse<unsigned>(range.substr(dash + 1)) : first;
    return first && last && *first <= number && number <= *last;
  });
}

std::optional<NumaNode> read_node(unsigned id, const KernelRoots& roots) {
  const std::string name = "node" + std::to_string(id);
  const std::string text = read_text(roots.sys + "/devices/system/node/" + name + "/meminfo");
  const std::string prefix = "Node " + std::to_string(id) + " ";
  const auto value = [&](const char* field) { return kib_of(text, prefix + field); };
  const auto total = value("MemTotal:");
  const auto free = value("MemFree:");
  if (!total || !free) return std::nullopt;
  const std::size_t file =
      value("Inactive(file):").value_or(0) + value("Active(file):").value_or(0);
  const std::size_t unclean = value("Dirty:").value_or(0) + value("Writeback:").value_or(0);
  return NumaNode{
      .id = id, .total = *total, .free = *free, .reclaimable = file - std::min(file, unclean)};
}

}  // namespace

std::vector<MemoryLimit> memory_limits(const KernelRoots& roots) {
  const std::string meminfo = read_text(roots.proc + "/meminfo");
  std::vector<MemoryLimit> limits = resident_limits(meminfo, roots);
  add_cpuset(limits, roots);
  const std::size_t of_memory = limits.size();
  add_mapping_limits(limits, meminfo, roots);
  for (std::size_t i = of_memory; i < limits.size(); ++i) limits[i].mapped = true;
  return limits;
}

std::vector<MemoryLimit> mapping_limits(const KernelRoots& roots) {
  std::vector<MemoryLimit> limits;
  add_mapping_limits(limits, read_text(roots.proc + "/meminfo"), roots);
  return limits;
}

std::optional<MemoryLimit> memlock_limit(const KernelRoots& roots) {
  constexpr std::uint64_t kIpcLock = std::uint64_t{1} << 14;
  const std::string status = read_text(roots.proc + "/self/status");
  const auto capabilities = parse<std::uint64_t>(text_behind(status, "CapEff:"), 16);
  if ((capabilities.value_or(0) & kIpcLock) != 0) return std::nullopt;
  const std::string rlimits = read_text(roots.proc + "/self/limits");
  std::vector<MemoryLimit> limits;
  add_limit(limits, "RLIMIT_MEMLOCK", value_of(rlimits, "Max locked memory "),
            kib_of(status, "VmLck:").value_or(0));
  return limits.empty() ? std::nullopt : std::optional(limits.front());
}

std::vector<NumaNode> numa_nodes(const KernelRoots& roots) {
  constexpr unsigned kMostNodes = 1024;  // the maximum of any Linux kernel
  const std::string online = read_text(roots.sys + "/devices/system/node/online");
  const std::string status = read_text(roots.proc + "/self/status");
  const std::string_view allowed = text_behind(status, "Mems_allowed_list:");
  std::vector<NumaNode> nodes;
  for (unsigned id = 0; id < kMostNodes; ++id) {
    if (!list_has(online, id)) continue;
    std::optional<NumaNode> node = read_node(id, roots);
    if (!node) continue;
    node->allowed = allowed.empty() || list_has(allowed, id);
    nodes.push_back(*node);
  }
  return nodes;
}

std::optional<Budget> tightest_of(std::span<const MemoryLimit> limits) {
  const auto tightest = std::ranges::min_element(limits, {}, &MemoryLimit::available);
  if (tightest == limits.end()) return std::nullopt;
  return Budget{.available = tightest->available(), .limit = tightest->name};
}

std::optional<Budget> memory_budget(const KernelRoots& roots) {
  const std::string meminfo = read_text(roots.proc + "/meminfo");
  return tightest_of(resident_limits(meminfo, roots));
}

}  // namespace tapedeck::internal::os
