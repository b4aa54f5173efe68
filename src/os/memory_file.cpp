// SPDX-License-Identifier: Apache-2.0
#include "os/memory_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

#include "os/faults.hpp"
#include "os/file_size_limit.hpp"

namespace tapedeck::internal::os {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

Opened create_memory_file(const char* name, std::size_t bytes, std::size_t huge_page,
                          bool sealable) noexcept {
  if (const int error = injected("memfd_create")) return {.error = error, .call = "memfd_create"};
  unsigned flags = MFD_CLOEXEC | (sealable ? MFD_ALLOW_SEALING : 0U);
  if (huge_page != 0) {
    flags |= MFD_HUGETLB | static_cast<unsigned>(std::countr_zero(huge_page)) << MAP_HUGE_SHIFT;
  }
  Opened file = opened_by("memfd_create", ::memfd_create(name, flags));
  if (file.error != 0) return file;
  const WithoutSizeSignal guard;
  const int error = errno_of(
      "ftruncate", [&] { return ::ftruncate(file.descriptor.get(), static_cast<off_t>(bytes)); });
  if (error != 0) return {.error = error, .call = "ftruncate"};
  return file;
}

int seal(int descriptor) noexcept {
  return errno_of("fcntl", [=] { return ::fcntl(descriptor, F_ADD_SEALS, kSeals | F_SEAL_SEAL); });
}

int check_sealed(int descriptor) noexcept {
  int seals = 0;
  const int error = errno_of("fcntl", [&] { return seals = ::fcntl(descriptor, F_GET_SEALS); });
  return error == 0 && (seals & kSeals) != kSeals ? EINVAL : error;
}

std::size_t huge_page_of(int descriptor) noexcept {
  struct statfs status {};
  if (::fstatfs(descriptor, &status) != 0 || status.f_type != HUGETLBFS_MAGIC) return 0;
  return static_cast<std::size_t>(status.f_bsize);
}

int punch_hole(int descriptor, std::uint64_t offset, std::size_t bytes) noexcept {
  return errno_of("fallocate", [=] {
    return ::fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(offset), static_cast<off_t>(bytes));
  });
}

}  // namespace tapedeck::internal::os
