// SPDX-License-Identifier: Apache-2.0
#include "os/fault_in.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "os/faults.hpp"
#include "os/mappings.hpp"
#include "os/proc_text.hpp"

namespace tapedeck::internal::os {
namespace {

// Exchanging a byte for itself is a write that changes nothing, even with concurrent writers.
// Adding 0 is not: Clang makes a load of it, which maps the shared page of zeros. A tape poisons
// the pages that are not taken, and AddressSanitizer would report a std::atomic_ref here.
[[gnu::no_sanitize_address]] void write_to_each_page(std::span<std::byte> pages) noexcept {
  const std::size_t step = page_size();
  auto* const end = pages.data() + pages.size();
  for (auto* at = pages.data(); at < end; at += step) {
    auto* const byte = reinterpret_cast<unsigned char*>(at);
    unsigned char same = __atomic_load_n(byte, __ATOMIC_RELAXED);
    __atomic_compare_exchange_n(byte, &same, same, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
}

// Shared memory is only read, which allocates its pages, too. Writing to a hole of a file on a full
// file system would raise SIGBUS.
int fault_in_mapped(std::span<std::byte> pages, const Mapping& mapping, Access access) {
  const bool write = access == Access::write && mapping.writable && !mapping.shared;
  if (!mapping.readable && !write) return EACCES;
  // Only anonymous memory has no end that a write could be behind.
  if (!write || mapping.of_file) {
    const int error = touch_pages(pages.data(), pages.size());
    const std::span<std::byte> first = pages.first(1);
    if (error == EFAULT && any_mapping_has(first, MappingFlag::of_a_device)) return 0;
    if (error != 0) return error;
  }
  if (write) write_to_each_page(pages);
  return 0;
}

int fault_in_by_mappings(std::span<std::byte> range, Access access) {
  const std::string maps = read_text("/proc/self/maps");
  if (maps.empty()) return EINVAL;  // the reason stays unknown, and touching might raise a signal
  int error = 0;
  any_part(maps, '\n', [&](std::string_view line) {
    const auto mapping = mapping_of(line);
    const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
    if (!mapping || mapping->addresses.end <= begin) return false;
    if (!mapping->contains(begin)) return true;
    const std::span<std::byte> part =
        range.first(std::min(range.size(), mapping->addresses.end - begin));
    error = fault_in_mapped(part, *mapping, access);
    range = range.subspan(part.size());
    return error != 0 || range.empty();
  });
  return error == 0 && !range.empty() ? ENOMEM : error;
}

Transferred copy_populated(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  const std::span<std::byte> pages = pages_around({const_cast<std::byte*>(from), bytes});
  const int error = populate(pages.data(), pages.size(), Access::read);
  if (error != 0) return {0, error};
  std::memcpy(to, from, bytes);
  return {bytes, 0};
}

}  // namespace

int fault_in(std::byte* at, std::size_t bytes, Access access) {
  const int error = populate(at, bytes, access);
  return error == EINVAL ? fault_in_by_mappings(pages_around({at, bytes}), access) : error;
}

int touch_pages(std::byte* at, std::size_t bytes) noexcept {
  const AddressRange range = pages_of(at, bytes);
  std::array<char, IOV_MAX> sink;
  std::array<iovec, IOV_MAX> pages;
  for (std::uintptr_t page = range.begin; page < range.end;) {
    const std::size_t count = std::min(pages.size(), (range.end - page) / page_size());
    for (std::size_t i = 0; i < count; ++i) {
      pages[i] = {.iov_base = reinterpret_cast<void*>(page + i * page_size()), .iov_len = 1};
    }
    const iovec into = {.iov_base = sink.data(), .iov_len = count};
    if (const int error = injected("process_vm_readv")) return error;
    const ssize_t got = ::process_vm_readv(::getpid(), &into, 1, pages.data(), count, 0);
    if (got < 0) return errno;
    if (static_cast<std::size_t>(got) < count) return EFAULT;
    page += count * page_size();
  }
  return 0;
}

Transferred copy_readable(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  for (std::size_t done = 0; done < bytes;) {
    if (const int error = injected("process_vm_readv")) return {done, error};
    const iovec into = {.iov_base = to + done, .iov_len = bytes - done};
    const iovec source = {.iov_base = const_cast<std::byte*>(from + done), .iov_len = bytes - done};
    const ssize_t got = ::process_vm_readv(::getpid(), &into, 1, &source, 1, 0);
    if (got < 0 && (errno == EPERM || errno == ENOSYS)) return copy_populated(to, from, bytes);
    if (got < 0) return {done, errno};
    if (got == 0) return {done, EFAULT};
    done += static_cast<std::size_t>(got);
  }
  return {bytes, 0};
}

}  // namespace tapedeck::internal::os
