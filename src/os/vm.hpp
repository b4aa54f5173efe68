/// @file
/// Address space: every call that maps, protects, advises or locks memory. Nothing here throws;
/// results carry errno.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

[[nodiscard]] std::size_t page_size() noexcept;
/// The whole pages that a range lies in.
[[nodiscard]] std::span<std::byte> pages_around(std::span<std::byte> range) noexcept;
/// The default size of a huge page; 0 where the kernel has none.
[[nodiscard]] std::size_t huge_page_size();

struct Mapped {
  std::byte* at = nullptr;
  int error = 0;              ///< errno,
  const char* call = "mmap";  ///< and whose it is.
};

/// Inaccessible addresses that cost no memory.
[[nodiscard]] Mapped reserve(std::size_t bytes) noexcept;

enum class Access : std::uint8_t { none, read, write };

/// Maps a descriptor from `offset` on, shared, over addresses that are reserved.
[[nodiscard]] Mapped map_shared(int descriptor, std::size_t bytes, Access access, std::byte* at,
                                std::uint64_t offset = 0) noexcept;

// These give errno, 0 for success.
[[nodiscard]] int unmap(std::byte* at, std::size_t bytes) noexcept;
[[nodiscard]] int allow_write(std::byte* at, std::size_t bytes) noexcept;
[[nodiscard]] int forbid_access(std::byte* at, std::size_t bytes) noexcept;
/// Puts fresh reserved addresses over a range: its pages go back.
[[nodiscard]] int reserve_again(std::byte* at, std::size_t bytes) noexcept;
/// Puts hugetlb pages over reserved addresses; ENOMEM where the host's pool is too small, EINVAL
/// from kernels before 5.16.
[[nodiscard]] int map_huge(std::byte* at, std::size_t bytes, std::size_t huge_page) noexcept;

enum class Advice : int {
  huge_pages = MADV_HUGEPAGE,
  no_huge_pages = MADV_NOHUGEPAGE,
  no_core_dump = MADV_DONTDUMP,
  not_on_fork = MADV_DONTFORK,
  zero_on_fork = MADV_WIPEONFORK,
  drop_pages = MADV_DONTNEED,
};
[[nodiscard]] int advise(std::byte* at, std::size_t bytes, Advice advice) noexcept;

[[nodiscard]] int lock(std::byte* at, std::size_t bytes) noexcept;
[[nodiscard]] int unlock(std::byte* at, std::size_t bytes) noexcept;
/// RLIMIT_MEMLOCK in bytes; the largest number where it is unlimited.
[[nodiscard]] std::size_t lock_limit() noexcept;

/// Makes pages resident; EINVAL from kernels before 5.14.
[[nodiscard]] int populate(std::byte* at, std::size_t bytes, Access access) noexcept;

}  // namespace tapedeck::internal::os
