#include "os/proc.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

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
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
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

/// One version of the memory controller's files.
struct Controller {
  const char* limit;
  const char* usage;
  const char* droppable;
};
constexpr Controller kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file "};
constexpr Controller kVersion2 = {"memory.max", "memory.current", "inactive_file "};

std::optional<std::size_t> left_in(const std::string& folder, const Controller& files) {
  const auto limit = read_number(folder + "/" + files.limit);
  const auto usage = read_number(folder + "/" + files.usage);
  if (!limit || !usage) return std::nullopt;
  const auto stat = read_text(folder + "/memory.stat");
  const std::size_t droppable =
      stat ? value_of(*stat, files.droppable).value_or(0) : std::size_t{0};
  const std::size_t held = *usage - std::min(*usage, droppable);
  return *limit - std::min(*limit, held);
}

/// Walks from a group up to the root of its hierarchy: every ancestor's limit binds. A container
/// that sees its host's path but not the folder has its own limits at the root.
void narrow(Budget& budget, const std::string& root, std::string path, const Controller& files) {
  while (true) {
    if (path == "/") path.clear();
    if (const auto left = left_in(root + path, files); left && *left < budget.available) {
      budget = {.available = *left,
                .limit = "memory cgroup " + (path.empty() ? "/" : path) + ", " + files.limit};
    }
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

std::size_t huge_kib_of(std::string_view line) {
  constexpr std::array keys = {
      "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:", "Private_Hugetlb:", "Shared_Hugetlb:"};
  for (const std::string_view key : keys) {
    if (line.starts_with(key)) return parse<std::size_t>(line.substr(key.size())).value_or(0);
  }
  return 0;
}

}  // namespace

std::optional<std::size_t> meminfo_bytes(std::string_view field, const Roots& roots) {
  const auto text = read_text(roots.proc + "/meminfo");
  if (!text) return std::nullopt;
  const auto kib = value_of(*text, std::string(field) + ":");
  return kib ? checked_mul<std::size_t>(*kib, 1024) : std::nullopt;
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
  const auto text = read_text("/proc/self/smaps");
  if (!text) return std::nullopt;
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  std::size_t overlap = 0;
  std::size_t huge = 0;
  for_each_line(*text, [&](std::string_view line) {
    if (const auto mapping = mapping_of(line)) {
      const std::uintptr_t from = std::max(begin, mapping->begin);
      const std::uintptr_t to = std::min(begin + bytes, mapping->end);
      overlap = from < to ? to - from : 0;
    } else if (overlap != 0) {
      huge += std::min(overlap, huge_kib_of(line) * 1024);
    }
    return false;
  });
  return huge;
}

std::optional<Budget> memory_budget(const Roots& roots) {
  const auto available = meminfo_bytes("MemAvailable", roots);
  if (!available) return std::nullopt;
  Budget budget = {.available = *available, .limit = "MemAvailable"};
  const std::string groups = read_text(roots.proc + "/self/cgroup").value_or("");
  for_each_line(groups, [&](std::string_view line) {  // "4:memory:/a/b", "0::/a/b"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return false;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (controllers.empty()) {
      narrow(budget, roots.cgroup, path, kVersion2);
      narrow(budget, roots.cgroup + "/unified", path, kVersion2);
    } else if (lists_memory(controllers)) {
      narrow(budget, roots.cgroup + "/memory", path, kVersion1);
    }
    return false;
  });
  return budget;
}

FaultCount page_faults() noexcept {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return {};
  return {.minor = static_cast<std::uint64_t>(usage.ru_minflt),
          .major = static_cast<std::uint64_t>(usage.ru_majflt)};
}

}  // namespace tapedeck::inline TAPEDECK_ABI::os
