// SPDX-License-Identifier: Apache-2.0
/// @file
/// Address space: all calls that map, protect, advise or lock memory. None of them throws; results
/// contain errno.
#pragma once

#include <sys/mman.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

[[nodiscard]] std::size_t page_size() noexcept;
/// The whole pages that contain a range.
[[nodiscard]] std::span<std::byte> pages_around(std::span<std::byte> range) noexcept;
/// The default size of a huge page; 0 if the kernel has no huge pages.
[[nodiscard]] std::size_t huge_page_size();

struct Mapped {
  std::byte* at = nullptr;
  int error = 0;              ///< errno; 0 for success.
  const char* call = "mmap";  ///< The call that failed, if one did.
};

/// Reserves inaccessible addresses, which cost no memory.
[[nodiscard]] Mapped reserve(std::size_t bytes) noexcept;

enum class Access : std::uint8_t { none, read, write };

/// Maps a descriptor from `offset` on as shared memory over reserved addresses.
[[nodiscard]] Mapped map_shared(int descriptor, std::size_t bytes, Access access, std::byte* at,
                                std::uint64_t offset = 0) noexcept;

// The following functions return errno, or 0 for success.
[[nodiscard]] int unmap(std::byte* at, std::size_t bytes) noexcept;
[[nodiscard]] int allow_write(std::byte* at, std::size_t bytes) noexcept;
[[nodiscard]] int forbid_access(std::byte* at, std::size_t bytes) noexcept;
/// Replaces a range by newly reserved addresses, which releases its pages.
[[nodiscard]] int reserve_again(std::byte* at, std::size_t bytes) noexcept;
/// Maps hugetlb pages over reserved addresses. Gives ENOMEM if the host's pool is too small, and
/// EINVAL on kernels before 5.16.
[[nodiscard]] int map_huge(std::byte* at, std::size_t bytes, std::size_t huge_page) noexcept;

enum class Advice : int {
  huge_pages = MADV_HUGEPAGE,
  no_huge_pages = MADV_NOHUGEPAGE,
  no_core_dump = MADV_DONTDUMP,
  not_on_fork = MADV_DONTFORK,
  zero_on_fork = MADV_WIPEONFORK,
  drop_pages = MADV_DONTNEED,
  populate_write = 23,  ///< MADV_POPULATE_WRITE, Linux 5.14: makes pages resident.
  collapse = 25,  ///< MADV_COLLAPSE, Linux 6.1: moves what is in RAM into huge pages, at once.
};
[[nodiscard]] int advise(std::byte* at, std::size_t bytes, Advice advice) noexcept;

/// Collects ranges and advises them together: many with one call where the kernel takes several
/// ranges of the process itself (process_madvise with PIDFD_SELF, Linux 6.14), otherwise each with
/// a call of its own. A range that is refused does not keep the others from being advised.
class AdviceForMany {
 public:
  explicit AdviceForMany(Advice advice) noexcept : advice_(advice) {}

  /// Adds a range; an empty one is left out.
  void add(std::byte* at, std::size_t bytes) noexcept;
  /// Advises what is left. Returns errno of the last range that was refused, or 0.
  [[nodiscard]] int finish() noexcept;

 private:
  void advise_collected() noexcept;

  Advice advice_;
  std::array<iovec, 128> ranges_{};
  std::size_t collected_ = 0;
  int error_ = 0;
};

[[nodiscard]] int lock(std::byte* at, std::size_t bytes) noexcept;
/// False if the page is certainly not locked, even though `lock` reported success: a sanitizer
/// replaces mlock by a function that does nothing, and so does the kernel for some mappings.
[[nodiscard]] bool may_be_locked(std::byte* page) noexcept;
[[nodiscard]] int unlock(std::byte* at, std::size_t bytes) noexcept;
/// RLIMIT_MEMLOCK in bytes; the largest number if it is unlimited.
[[nodiscard]] std::size_t lock_limit() noexcept;

/// Makes pages resident. Gives EINVAL on kernels before 5.14, for memory that does not permit the
/// access, and for memory of a device; `fault_in` tells them apart.
[[nodiscard]] int populate(std::byte* at, std::size_t bytes, Access access) noexcept;

}  // namespace tapedeck::internal::os
