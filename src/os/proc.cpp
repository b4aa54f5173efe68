#include "os/proc.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "os/cgroup.hpp"
#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/proc_text.hpp"
#include "os/vm.hpp"

namespace tapedeck::internal::os {
namespace {

/// What bounds memory in RAM; empty without MemAvailable.
std::vector<MemoryLimit> resident_limits(const std::string& meminfo, const Roots& roots) {
  const auto available = kib_of(meminfo, "MemAvailable:");
  if (!available) return {};
  const std::size_t total = std::max(kib_of(meminfo, "MemTotal:").value_or(0), *available);
  std::vector<MemoryLimit> limits = {
      {.name = "MemAvailable", .limit = total, .used = total - *available}};
  add_cgroups(limits, roots);
  return limits;
}

/// A cpuset that leaves out some nodes bounds memory to what the others have.
void add_cpuset(std::vector<MemoryLimit>& limits, const Roots& roots) {
  MemoryLimit bound = {.name = "cpuset, NUMA nodes"};
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

/// What bounds the memory a process may map, be it in RAM or not.
void add_mapping_limits(std::vector<MemoryLimit>& limits, const std::string& meminfo,
                        const Roots& roots) {
  const std::string rlimits = read_text(roots.proc + "/self/limits").value_or("");
  const std::string status = read_text(roots.proc + "/self/status").value_or("");
  add_limit(limits, "RLIMIT_AS", value_of(rlimits, "Max address space "),
            kib_of(status, "VmSize:").value_or(0));
  add_limit(limits, "RLIMIT_DATA", value_of(rlimits, "Max data size "),
            kib_of(status, "VmData:").value_or(0));
  if (read_number(roots.proc + "/sys/vm/overcommit_memory") == std::size_t{2}) {
    add_limit(limits, "CommitLimit", kib_of(meminfo, "CommitLimit:"),
              kib_of(meminfo, "Committed_AS:").value_or(0));
  }
}

/// Whether a list of the kernel's, "0-3,8", has the number.
bool list_has(std::string_view list, unsigned number) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    const std::string_view range = list.substr(0, end);
    const std::size_t dash = std::min(range.find('-'), range.size());
    const auto first = parse<unsigned>(range);
    const auto last = dash < range.size() ? parse<unsigned>(range.substr(dash + 1)) : first;
    if (first && last && *first <= number && number <= *last) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

std::optional<NumaNode> read_node(unsigned id, const Roots& roots) {
  const std::string name = "node" + std::to_string(id);
  const auto text = read_text(roots.sys + "/devices/system/node/" + name + "/meminfo");
  if (!text) return std::nullopt;
  const std::string prefix = "Node " + std::to_string(id) + " ";
  const auto total = kib_of(*text, prefix + "MemTotal:");
  const auto free = kib_of(*text, prefix + "MemFree:");
  if (!total || !free) return std::nullopt;
  return NumaNode{.id = id,
                  .total = *total,
                  .free = *free,
                  .reclaimable = kib_of(*text, prefix + "Inactive(file):").value_or(0)};
}

struct AddressRange {
  std::uintptr_t begin;
  std::uintptr_t end;
};

/// The head of a mapping in smaps: "7f00a000-7f00b000 rw-p …".
std::optional<AddressRange> mapping_of(std::string_view line) {
  const std::size_t dash = line.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto begin = parse<std::uintptr_t>(line.substr(0, dash), 16);
  const auto end = parse<std::uintptr_t>(line.substr(dash + 1), 16);
  if (!begin || !end) return std::nullopt;
  return AddressRange{*begin, *end};
}

/// The sum of some figures of /proc/self/smaps over the mappings that have bytes of a range, each
/// no more than those bytes.
std::optional<std::size_t> sum_of_smaps(const std::byte* at, std::size_t bytes,
                                        std::span<const std::string_view> keys) {
  const auto text = read_text("/proc/self/smaps");
  if (!text) return std::nullopt;
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  std::size_t overlap = 0;
  std::size_t sum = 0;
  for_each_line(*text, [&](std::string_view line) {
    if (const auto mapping = mapping_of(line)) {
      const std::uintptr_t from = std::max(begin, mapping->begin);
      const std::uintptr_t to = std::min(begin + bytes, mapping->end);
      overlap = from < to ? to - from : 0;
      return false;
    }
    for (const std::string_view key : keys) {
      if (overlap == 0 || !line.starts_with(key)) continue;
      sum += std::min(overlap, kib_of(line, key).value_or(0));
    }
    return false;
  });
  return sum;
}

}  // namespace

std::optional<std::size_t> meminfo_bytes(std::string_view field, const Roots& roots) {
  const auto text = read_text(roots.proc + "/meminfo");
  return text ? kib_of(*text, std::string(field) + ":") : std::nullopt;
}

std::optional<std::size_t> resident_bytes(const Roots& roots) {
  const auto text = read_text(roots.proc + "/self/status");
  return text ? kib_of(*text, "VmRSS:") : std::nullopt;
}

ProcessMemory process_memory(const Roots& roots, const std::string& process) {
  const std::string status = read_text(roots.proc + "/" + process + "/status").value_or("");
  return {.anonymous = kib_of(status, "RssAnon:"),
          .file = kib_of(status, "RssFile:"),
          .shared = kib_of(status, "RssShmem:"),
          .peak = kib_of(status, "VmHWM:"),
          .swapped = kib_of(status, "VmSwap:"),
          .hugetlb = kib_of(status, "HugetlbPages:")};
}

std::optional<std::size_t> anon_huge_bytes(const Roots& roots) {
  const auto text = read_text(roots.proc + "/self/smaps_rollup");
  return text ? kib_of(*text, "AnonHugePages:") : std::nullopt;
}

std::optional<std::size_t> present_bytes(const std::byte* at, std::size_t bytes) {
  const Opened pagemap = open_read("/proc/self/pagemap");
  if (pagemap.error != 0) return std::nullopt;
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  std::uintptr_t page = begin / page_size();
  const std::uintptr_t end = (begin + bytes + page_size() - 1) / page_size();
  std::array<std::uint64_t, 4096> entries;
  std::size_t present = 0;
  while (page < end) {
    const std::size_t count = std::min<std::size_t>(entries.size(), end - page);
    const auto part = std::as_writable_bytes(std::span(entries).first(count));
    const Transferred got = read_at(pagemap.descriptor.get(), part, page * sizeof(std::uint64_t));
    if (got.error != 0 || got.bytes != part.size()) return std::nullopt;
    present += static_cast<std::size_t>(
        std::count_if(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(count),
                      [](std::uint64_t entry) { return (entry & kPresent) != 0; }));
    page += count;
  }
  return std::min(present * page_size(), bytes);
}

std::optional<std::size_t> cached_bytes(std::byte* at, std::size_t bytes) {
  constexpr std::size_t kPagesAtOnce = 4096;
  std::array<unsigned char, kPagesAtOnce> pages;
  std::size_t cached = 0;
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t part = std::min(bytes - done, kPagesAtOnce * page_size());
    if (injected("mincore") != 0 || ::mincore(at + done, part, pages.data()) != 0) {
      return std::nullopt;
    }
    const std::size_t count = (part + page_size() - 1) / page_size();
    cached += static_cast<std::size_t>(
        std::count_if(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count),
                      [](unsigned char page) { return (page & 1) != 0; }));
    done += part;
  }
  return std::min(cached * page_size(), bytes);
}

std::optional<std::size_t> huge_bytes(const std::byte* at, std::size_t bytes) {
  constexpr std::array<std::string_view, 5> kKeys = {
      "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:", "Private_Hugetlb:", "Shared_Hugetlb:"};
  return sum_of_smaps(at, bytes, kKeys);
}

std::optional<std::size_t> dirty_bytes(const std::byte* at, std::size_t bytes) {
  constexpr std::array<std::string_view, 2> kKeys = {"Private_Dirty:", "Shared_Dirty:"};
  return sum_of_smaps(at, bytes, kKeys);
}

std::vector<MemoryLimit> memory_limits(const Roots& roots) {
  const std::string meminfo = read_text(roots.proc + "/meminfo").value_or("");
  std::vector<MemoryLimit> limits = resident_limits(meminfo, roots);
  add_cpuset(limits, roots);
  add_mapping_limits(limits, meminfo, roots);
  return limits;
}

std::optional<MemoryLimit> memlock_limit(const Roots& roots) {
  constexpr std::uint64_t kIpcLock = std::uint64_t{1} << 14;
  const std::string status = read_text(roots.proc + "/self/status").value_or("");
  const auto capabilities = parse<std::uint64_t>(text_behind(status, "CapEff:"), 16);
  if ((capabilities.value_or(0) & kIpcLock) != 0) return std::nullopt;
  const std::string rlimits = read_text(roots.proc + "/self/limits").value_or("");
  std::vector<MemoryLimit> limits;
  add_limit(limits, "RLIMIT_MEMLOCK", value_of(rlimits, "Max locked memory "),
            kib_of(status, "VmLck:").value_or(0));
  return limits.empty() ? std::nullopt : std::optional(limits.front());
}

std::vector<NumaNode> numa_nodes(const Roots& roots) {
  constexpr unsigned kMostNodes = 1024;  // of any Linux
  const auto online = read_text(roots.sys + "/devices/system/node/online");
  const std::string status = read_text(roots.proc + "/self/status").value_or("");
  const std::string_view allowed = text_behind(status, "Mems_allowed_list:");
  std::vector<NumaNode> nodes;
  for (unsigned id = 0; online && id < kMostNodes; ++id) {
    if (!list_has(*online, id)) continue;
    std::optional<NumaNode> node = read_node(id, roots);
    if (!node) continue;
    node->allowed = allowed.empty() || list_has(allowed, id);
    nodes.push_back(*node);
  }
  return nodes;
}

std::optional<Budget> memory_budget(const Roots& roots) {
  const std::string meminfo = read_text(roots.proc + "/meminfo").value_or("");
  const std::vector<MemoryLimit> limits = resident_limits(meminfo, roots);
  const auto tightest = std::min_element(
      limits.begin(), limits.end(),
      [](const MemoryLimit& a, const MemoryLimit& b) { return a.available() < b.available(); });
  if (tightest == limits.end()) return std::nullopt;
  return Budget{.available = tightest->available(), .limit = tightest->name};
}

FaultCount page_faults() noexcept {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return {};
  return {.minor = static_cast<std::uint64_t>(usage.ru_minflt),
          .major = static_cast<std::uint64_t>(usage.ru_majflt)};
}

}  // namespace tapedeck::internal::os
