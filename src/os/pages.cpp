// SPDX-License-Identifier: Apache-2.0
#include "os/pages.hpp"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <string>
#include <string_view>

#include "os/faults.hpp"
#include "os/file.hpp"
#include "os/mappings.hpp"
#include "os/proc_text.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"

// The headers of the oldest supported system lack this.
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

namespace tapedeck::internal::os {
namespace {

// From linux/fs.h of Linux 6.7.
struct ScanRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};
struct ScanArguments {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t vec;
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr std::uint64_t kScanPresent = 1U << 3;
constexpr std::uint64_t kScanSwapped = 1U << 4;
constexpr std::uint64_t kScanZeros = 1U << 5;  // the page of zeros that all processes share
constexpr std::uint64_t kScanHuge = 1U << 6;

constexpr unsigned kMaskBits = sizeof(unsigned long) * CHAR_BIT;  // of one word of a set of nodes

// From linux/mempolicy.h.
constexpr int mode_of(NodePolicy policy) noexcept { return policy == NodePolicy::bind ? 2 : 3; }

/// Calls `on_region` with each region of pages in RAM or in swap. Costs nothing where no pages are.
/// Returns false where the kernel does not answer.
template <class OnRegion>
bool scan(int pagemap, AddressRange range, const OnRegion& on_region) {
  std::array<ScanRegion, 256> regions;
  while (range.begin < range.end) {
    ScanArguments arguments = {};
    arguments.size = sizeof arguments;
    arguments.start = range.begin;
    arguments.end = range.end;
    arguments.vec = reinterpret_cast<std::uintptr_t>(regions.data());
    arguments.vec_len = regions.size();
    arguments.category_anyof_mask = kScanPresent | kScanSwapped;
    arguments.return_mask = kScanPresent | kScanSwapped | kScanZeros | kScanHuge;
    const int found = injected("ioctl") != 0 ? -1 : ::ioctl(pagemap, kPagemapScan, &arguments);
    if (found < 0 || arguments.walk_end <= range.begin) return false;
    for (const ScanRegion& region : std::span(regions).first(static_cast<std::size_t>(found))) {
      on_region(region);
    }
    range.begin = arguments.walk_end;
  }
  return true;
}

/// Does the same from an entry for each page, which does not tell zeros and huge pages.
template <class OnRegion>
bool read_entries(int pagemap, AddressRange range, const OnRegion& on_region) {
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
  constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
  std::array<std::uint64_t, 4096> entries;
  std::uintptr_t page = range.begin / page_size();
  const std::uintptr_t end = range.end / page_size();
  while (page < end) {
    const auto part = std::span(entries).first(std::min<std::size_t>(entries.size(), end - page));
    const Transferred got =
        read_at(pagemap, std::as_writable_bytes(part), page * sizeof(std::uint64_t));
    if (got.error != 0 || got.bytes != part.size_bytes()) return false;
    for (const std::uint64_t entry : part) {
      const std::uint64_t categories = ((entry & kPresent) != 0 ? kScanPresent : 0) |
                                       ((entry & kSwapped) != 0 ? kScanSwapped : 0);
      if (categories != 0) on_region({page * page_size(), (page + 1) * page_size(), categories});
      ++page;
    }
  }
  return true;
}

/// Adds up the categories of regions.
struct AddStates {
  PageStates& states;
  void operator()(const ScanRegion& region) const {
    const std::size_t bytes = region.end - region.start;
    const auto add = [&](std::uint64_t category, std::optional<std::size_t>& sum) {
      if ((region.categories & category) != 0 && sum) *sum += bytes;
    };
    add(kScanPresent, states.present);
    add(kScanSwapped, states.swapped);
    add(kScanZeros, states.zeros);
    add(kScanHuge, states.huge);
  }
};

/// Collects the runs of present pages.
struct AddPresent {
  std::vector<AddressRange>& runs;
  void operator()(const ScanRegion& region) const {
    if ((region.categories & kScanPresent) == 0) return;
    if (!runs.empty() && runs.back().end == region.start) {
      runs.back().end = region.end;
    } else {
      runs.push_back({region.start, region.end});
    }
  }
};

/// Adds the bytes of a run of present pages to their nodes.
bool add_nodes_of(AddressRange run, std::vector<std::uint64_t>& nodes) {
  constexpr std::size_t kPagesAtOnce = 4096;
  std::array<void*, kPagesAtOnce> pages;
  std::array<int, kPagesAtOnce> places;
  for (std::uintptr_t page = run.begin; page < run.end;) {
    const std::size_t count = std::min(kPagesAtOnce, (run.end - page) / page_size());
    for (std::size_t i = 0; i < count; ++i) {
      pages[i] = reinterpret_cast<void*>(page + i * page_size());
    }
    if (injected("move_pages") != 0 ||
        ::syscall(SYS_move_pages, 0, count, pages.data(), nullptr, places.data(), 0) != 0) {
      return false;
    }
    for (const int node : std::span(places).first(count)) {
      if (node < 0) continue;  // not present any more
      const auto number = static_cast<std::size_t>(node);
      if (nodes.size() <= number) nodes.resize(number + 1);
      nodes[number] += page_size();
    }
    page += count * page_size();
  }
  return true;
}

/// The sum of the values for some keys of /proc/self/smaps over all mappings that overlap a range.
/// Each value counts at most as much as the mapping overlaps.
std::optional<std::size_t> sum_of_smaps(const std::byte* at, std::size_t bytes,
                                        std::span<const std::string_view> keys) {
  const std::string text = read_text("/proc/self/smaps");
  if (text.empty()) return std::nullopt;
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  std::size_t overlap = 0;
  std::size_t sum = 0;
  any_part(text, '\n', [&](std::string_view line) {
    if (const auto mapping = mapping_of(line)) {
      const std::uintptr_t from = std::max(begin, mapping->addresses.begin);
      const std::uintptr_t to = std::min(begin + bytes, mapping->addresses.end);
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

/// A part of a file, mapped only to ask for its pages. It is private, because kernels before 6.7 do
/// not map sealed memory otherwise. It allows no access, so that nothing brings its pages in, not
/// even mlockall.
class FileView {
 public:
  FileView(int descriptor, std::uint64_t offset, std::size_t bytes) noexcept : bytes_(bytes) {
    if (injected("mincore") != 0) return;
    void* const at =
        ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE, descriptor, static_cast<off_t>(offset));
    if (at != MAP_FAILED) at_ = static_cast<std::byte*>(at);
  }
  ~FileView() {
    if (at_ != nullptr) ::munmap(at_, bytes_);
  }
  FileView(const FileView&) = delete;
  FileView& operator=(const FileView&) = delete;

  [[nodiscard]] std::optional<std::size_t> cached() const noexcept {
    return at_ == nullptr ? std::nullopt : cached_bytes(at_, bytes_);
  }

 private:
  std::byte* at_ = nullptr;
  std::size_t bytes_;
};

std::optional<std::uint64_t> ask_mincore(int descriptor, std::uint64_t offset,
                                         std::uint64_t bytes) noexcept {
  constexpr std::uint64_t kAtOnce = 1_GiB;  // addresses may be limited
  std::uint64_t cached = 0;
  std::uint64_t at = round_down(offset, std::uint64_t{page_size()});
  for (const std::uint64_t end = offset + bytes; at < end; at += kAtOnce) {
    const FileView view(descriptor, at, static_cast<std::size_t>(std::min(kAtOnce, end - at)));
    const std::optional<std::size_t> part = view.cached();
    if (!part) return std::nullopt;
    cached += *part;
  }
  return std::min(cached, bytes);
}

std::optional<std::uint64_t> ask_cachestat(int descriptor, std::uint64_t offset,
                                           std::uint64_t bytes) noexcept {
  struct {
    std::uint64_t offset;
    std::uint64_t length;  // 0 would be the whole file
  } range = {offset, bytes};
  struct {
    std::uint64_t cached;
    std::uint64_t dirty;
    std::uint64_t writeback;
    std::uint64_t evicted;
    std::uint64_t recently_evicted;
  } pages = {};
  if (injected("cachestat") != 0 || ::syscall(SYS_cachestat, descriptor, &range, &pages, 0U) != 0) {
    return std::nullopt;
  }
  return std::min(pages.cached * page_size(), bytes);
}

}  // namespace

PageStates page_states(const std::byte* at, std::size_t bytes) {
  if (bytes == 0) return {.present = 0, .zeros = 0, .swapped = 0, .huge = 0};
  const Opened pagemap = open("/proc/self/pagemap", OpenFor::reading);
  if (pagemap.error != 0) return {};
  const AddressRange range = pages_of(at, bytes);
  PageStates states = {.present = 0, .zeros = 0, .swapped = 0, .huge = 0};
  if (!scan(pagemap.descriptor.get(), range, AddStates{states})) {
    states = {.present = 0, .swapped = 0};
    if (!read_entries(pagemap.descriptor.get(), range, AddStates{states})) return {};
  }
  // The pages at either end count only as far as they are in the range.
  for (std::optional<std::size_t>* sum :
       {&states.present, &states.zeros, &states.swapped, &states.huge}) {
    if (*sum) *sum = std::min(**sum, bytes);
  }
  return states;
}

std::optional<std::size_t> cached_bytes(std::byte* at, std::size_t bytes) noexcept {
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

bool add_node_bytes(std::byte* at, std::size_t bytes, std::vector<std::uint64_t>& nodes) {
  const Opened pagemap = open("/proc/self/pagemap", OpenFor::reading);
  if (pagemap.error != 0) return false;
  std::vector<AddressRange> present;
  if (!scan(pagemap.descriptor.get(), pages_of(at, bytes), AddPresent{present})) {
    present.clear();
    if (!read_entries(pagemap.descriptor.get(), pages_of(at, bytes), AddPresent{present})) {
      return false;
    }
  }
  return std::ranges::all_of(present,
                             [&](const AddressRange& run) { return add_nodes_of(run, nodes); });
}

bool mincore_reports(int descriptor) noexcept {
  constexpr std::uint64_t kFar = 1_GiB;  // more than the largest folio that a file's end is part of
  struct stat file {};
  const int error = errno_of("mincore", [&] { return ::fstat(descriptor, &file); });
  if (error != 0 || !S_ISREG(file.st_mode)) return false;
  if (cache_of(descriptor) == FileSystem::Cache::elsewhere) return false;
  const std::uint64_t end = round_up(static_cast<std::uint64_t>(file.st_size), kFar);
  const FileView behind_the_end(descriptor, end + kFar, page_size());
  return behind_the_end.cached() == std::size_t{0};
}

std::optional<std::uint64_t> cached_file_bytes(int descriptor, std::uint64_t offset,
                                               std::uint64_t bytes) noexcept {
  if (bytes == 0) return 0;
  const FileSystem::Cache cache = cache_of(descriptor);
  if (cache == FileSystem::Cache::elsewhere) return std::nullopt;
  if (cache == FileSystem::Cache::own_pages) {
    if (const auto cached = ask_cachestat(descriptor, offset, bytes)) return cached;
  }
  if (!mincore_reports(descriptor)) return std::nullopt;
  // Pages of holes may be cached, too, and each page that is not mapped is looked up: a sparse file
  // of a terabyte took 20 seconds.
  constexpr std::uint64_t kMostHoles = 16_GiB;
  if (hole_bytes(descriptor, offset, offset + bytes) > kMostHoles) return std::nullopt;
  return ask_mincore(descriptor, offset, bytes);
}

int place_on_nodes(std::byte* at, std::size_t bytes, NodePolicy policy,
                   std::span<const unsigned> nodes) {
  std::vector<unsigned long> mask;
  for (const unsigned node : nodes) {
    if (mask.size() <= node / kMaskBits) mask.resize(node / kMaskBits + 1);
    mask[node / kMaskBits] |= 1UL << node % kMaskBits;
  }
  // The kernel uses one bit fewer than it is passed.
  return errno_of("mbind", [&] {
    return ::syscall(SYS_mbind, at, bytes, mode_of(policy), mask.data(),
                     mask.size() * kMaskBits + 1, 0U);
  });
}

std::optional<bool> is_placed_on(std::byte* at, NodePolicy policy,
                                 std::span<const unsigned> nodes) {
  constexpr unsigned long kOfTheAddress = 2;  // MPOL_F_ADDR
  constexpr int kModeFlags = 0xe000;
  std::array<unsigned long, 1024 / kMaskBits> mask{};
  int mode = 0;
  const int error = errno_of("get_mempolicy", [&] {
    return ::syscall(SYS_get_mempolicy, &mode, mask.data(), mask.size() * kMaskBits, at,
                     kOfTheAddress);
  });
  if (error != 0) return std::nullopt;
  return (mode & ~kModeFlags) == mode_of(policy) &&
         std::all_of(nodes.begin(), nodes.end(), [&](unsigned node) {
           return node < 1024 && (mask[node / kMaskBits] >> node % kMaskBits & 1) != 0;
         });
}

}  // namespace tapedeck::internal::os
