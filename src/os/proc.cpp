#include "os/proc.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::inline TAPEDECK_ABI::os {
namespace {

std::optional<std::string> read_text(const std::string& path) {
  const Opened file = open_read(path);
  if (file.error != 0) return std::nullopt;
  std::string text;
  std::array<std::byte, 16384> part;
  while (true) {
    const Transferred got = read_at(file.descriptor.get(), part, text.size());
    if (got.error != 0) return std::nullopt;
    text.append(reinterpret_cast<const char*>(part.data()), got.bytes);
    if (got.bytes < part.size()) return text;
  }
}

template <class Number>
std::optional<Number> parse(std::string_view text, int base = 10) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  Number number{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return result.ec == std::errc{} ? std::optional(number) : std::nullopt;
}

/// Calls `line_do` with every line until it gives true.
template <class LineDo>
void for_each_line(std::string_view text, LineDo line_do) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (line_do(text.substr(0, end))) return;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// The number behind `key` at the start of a line.
std::optional<std::size_t> value_of(std::string_view text, std::string_view key) {
  std::optional<std::size_t> value;
  for_each_line(text, [&](std::string_view line) {
    if (!line.starts_with(key)) return false;
    value = parse<std::size_t>(line.substr(key.size()));
    return true;
  });
  return value;
}

std::optional<std::size_t> read_number(const std::string& path) {
  const auto text = read_text(path);
  return text ? parse<std::size_t>(*text) : std::nullopt;  // "max" is no number
}

/// The number of kB behind `key`, in bytes.
std::optional<std::size_t> kib_of(std::string_view text, std::string_view key) {
  const auto kib = value_of(text, key);
  return kib ? checked_mul<std::size_t>(*kib, 1024) : std::nullopt;
}

/// One version of the memory controller's files.
struct Controller {
  std::array<const char*, 2> limits;
  const char* usage;
  const char* droppable;
  /// Of memory.stat: the least limit of all ancestors, also of those a container does not see.
  const char* hierarchical;
};
// Over memory.high nobody is killed, but everybody is throttled to a crawl.
constexpr Controller kVersion2 = {
    {"memory.max", "memory.high"}, "memory.current", "inactive_file ", nullptr};
constexpr Controller kVersion1 = {{"memory.limit_in_bytes", nullptr},
                                  "memory.usage_in_bytes",
                                  "total_inactive_file ",
                                  "hierarchical_memory_limit "};

/// Version 1 says "unlimited" with the last page below 2^63.
constexpr std::size_t kUnlimited = std::size_t{1} << 62;

void add_limit(std::vector<MemoryLimit>& limits, std::string name, std::optional<std::size_t> limit,
               std::size_t used) {
  if (!limit || *limit >= kUnlimited) return;
  limits.push_back({.name = std::move(name), .limit = *limit, .used = used});
}

void add_limits_of(std::vector<MemoryLimit>& limits, const std::string& folder,
                   const std::string& group, const Controller& files) {
  const auto usage = read_number(folder + "/" + files.usage);
  if (!usage) return;
  const std::string stat = read_text(folder + "/memory.stat").value_or("");
  const std::size_t droppable = value_of(stat, files.droppable).value_or(0);
  const std::size_t held = *usage - std::min(*usage, droppable);
  const std::string name = "memory cgroup " + (group.empty() ? "/" : group) + ", ";
  for (const char* file : files.limits) {
    if (file == nullptr) continue;
    add_limit(limits, name + file, read_number(folder + "/" + file), held);
  }
  if (files.hierarchical == nullptr) return;
  const auto own = read_number(folder + "/" + files.limits.front());
  const auto least = value_of(stat, files.hierarchical);
  if (own && least && *least < *own) {
    add_limit(limits, name + "hierarchical_memory_limit", least, held);
  }
}

/// Walks from a group up to the root of its hierarchy: every ancestor's limit binds. A container
/// that sees its host's path but not the folder has its own limits at the root.
void add_chain(std::vector<MemoryLimit>& limits, const std::string& root, std::string path,
               const Controller& files) {
  while (true) {
    if (path == "/") path.clear();
    add_limits_of(limits, root + path, path, files);
    if (path.empty()) return;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

bool lists_memory(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t end = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, end) == "memory") return true;
    controllers.remove_prefix(std::min(end + 1, controllers.size()));
  }
  return false;
}

void add_cgroups(std::vector<MemoryLimit>& limits, const Roots& roots) {
  const std::string groups = read_text(roots.proc + "/self/cgroup").value_or("");
  for_each_line(groups, [&](std::string_view line) {  // "4:memory:/a/b", "0::/a/b"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return false;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (controllers.empty()) {
      add_chain(limits, roots.cgroup, path, kVersion2);
      add_chain(limits, roots.cgroup + "/unified", path, kVersion2);
    } else if (lists_memory(controllers)) {
      add_chain(limits, roots.cgroup + "/memory", path, kVersion1);
    }
    return false;
  });
}

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

/// What stands behind a key at the start of a line; empty where the key is missing.
std::string_view text_behind(std::string_view text, std::string_view key) {
  std::string_view behind;
  for_each_line(text, [&](std::string_view line) {
    if (!line.starts_with(key)) return false;
    behind = line.substr(key.size());
    return true;
  });
  return behind;
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

}  // namespace tapedeck::inline TAPEDECK_ABI::os
