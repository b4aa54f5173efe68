// SPDX-License-Identifier: Apache-2.0
#include "os/cgroup.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "os/proc_text.hpp"

namespace tapedeck::internal::os {
namespace {

/// The file names of one version of the memory controller, and fields of its memory.stat.
struct Controller {
  std::array<const char*, 2> limits;
  const char* usage;
  std::array<const char*, 2> file_pages;  ///< On the lists of pages that the kernel can drop.
  std::array<const char*, 2> unclean;     ///< Those that must be written first.
  const char* mapped;                     ///< Those that a process maps.
  /// The field of memory.stat with the lowest limit of all ancestors, including those that a
  /// container cannot see.
  const char* hierarchical;
};
// Exceeding memory.high does not kill processes, but throttles them severely.
constexpr Controller kVersion2 = {
    {"memory.max", "memory.high"},      "memory.current", {"inactive_file ", "active_file "},
    {"file_dirty ", "file_writeback "}, "file_mapped ",   nullptr};
constexpr Controller kVersion1 = {{"memory.limit_in_bytes", nullptr},
                                  "memory.usage_in_bytes",
                                  {"total_inactive_file ", "total_active_file "},
                                  {"total_dirty ", "total_writeback "},
                                  "total_mapped_file ",
                                  "hierarchical_memory_limit "};

/// Version 1 represents "unlimited" by the last page below 2^63.
constexpr std::size_t kUnlimited = std::size_t{1} << 62;

/// A group of this process, or an ancestor.
struct Group {
  std::string folder;
  std::string path;  ///< Empty for the root.
  const Controller* files;
};

// The kernel's rule: when a group reaches its limit, the kernel first drops clean file pages, from
// the inactive list and, as that gets short, from the active list (a page that was read twice is on
// the latter). It kills only if that does not suffice. Locked pages are on neither list.
// This library's rule: these pages count as free, except dirty ones, which wait for a disk, and
// those of weights that this process has mapped, which every token reads again. Hence a model that
// was read before and is about to be mapped counts once: its pages are free, its size is needed.
std::size_t droppable_bytes(const Controller& files, const std::string& stat, std::size_t usage,
                            std::size_t kept) {
  const auto value = [&](const char* field) { return value_of(stat, field).value_or(0); };
  std::size_t droppable = 0;
  for (const char* field : files.file_pages) {
    droppable += std::min(usage - droppable, value(field));
  }
  for (const char* field : files.unclean) droppable -= std::min(droppable, value(field));
  return droppable - std::min({droppable, value(files.mapped), kept});
}

void add_limits_of(std::vector<MemoryLimit>& limits, const Group& group, std::size_t kept) {
  const Controller& files = *group.files;
  const auto usage = read_number(group.folder + "/" + files.usage);
  if (!usage) return;
  const std::string stat = read_text(group.folder + "/memory.stat");
  const std::size_t held = *usage - droppable_bytes(files, stat, *usage, kept);
  const std::string name = "memory cgroup " + (group.path.empty() ? "/" : group.path) + ", ";
  for (const char* file : files.limits) {
    if (file == nullptr) continue;
    add_limit(limits, name + file, read_number(group.folder + "/" + file), held);
  }
  if (files.hierarchical == nullptr) return;
  const auto own = read_number(group.folder + "/" + files.limits.front());
  const auto least = value_of(stat, files.hierarchical);
  if (own && least && *least < *own) {
    add_limit(limits, name + "hierarchical_memory_limit", least, held);
  }
}

/// Walks from a group up to the root of its hierarchy, since the limits of all ancestors apply. If
/// a container sees its path on the host but not that folder, its own limits are at the root.
void add_chain(std::vector<Group>& groups, const std::string& root, std::string path,
               const Controller& files) {
  while (true) {
    if (path == "/") path.clear();
    groups.push_back({.folder = root + path, .path = path, .files = &files});
    if (path.empty()) return;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

/// The groups of each hierarchy, from the process's own group up. Some may not exist.
std::vector<Group> memory_groups(const KernelRoots& roots) {
  std::vector<Group> groups;
  const std::string cgroup = roots.sys + "/fs/cgroup";
  const std::string lines = read_text(roots.proc + "/self/cgroup");
  any_part(lines, '\n', [&](std::string_view line) {  // "4:memory:/a/b", "0::/a/b"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return false;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (controllers.empty()) {
      add_chain(groups, cgroup, path, kVersion2);
      add_chain(groups, cgroup + "/unified", path, kVersion2);
    } else if (any_part(controllers, ',', [](auto one) { return one == "memory"; })) {
      add_chain(groups, cgroup + "/memory", path, kVersion1);
    }
    return false;
  });
  return groups;
}

}  // namespace

void add_limit(std::vector<MemoryLimit>& limits, std::string name, std::optional<std::size_t> limit,
               std::size_t used) {
  if (!limit || *limit >= kUnlimited) return;
  limits.push_back({.name = std::move(name), .limit = *limit, .used = used});
}

void add_cgroups(std::vector<MemoryLimit>& limits, const KernelRoots& roots, std::size_t kept) {
  for (const Group& group : memory_groups(roots)) add_limits_of(limits, group, kept);
}

CgroupMemory cgroup_memory(const KernelRoots& roots) {
  CgroupMemory memory;
  std::vector<MemoryLimit> limits;
  for (const Group& group : memory_groups(roots)) {
    if (!memory.current) {
      memory.current = read_number(group.folder + "/" + group.files->usage);
      if (memory.current) memory.pressure = read_pressure(group.folder + "/memory.pressure");
    }
    add_limits_of(limits, group, 0);
  }
  for (const MemoryLimit& limit : limits) {
    memory.limit = std::min(memory.limit.value_or(limit.limit), limit.limit);
  }
  return memory;
}

}  // namespace tapedeck::internal::os
