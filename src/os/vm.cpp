// SPDX-License-Identifier: Apache-2.0
#include "os/vm.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <limits>
#include <span>
#include <utility>

#include "os/faults.hpp"
#include "os/proc_text.hpp"
#include "tapedeck/base/checked.hpp"

// Supported by Linux 5.14 and later; older headers lack the names.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace tapedeck::internal::os {
namespace {

Mapped mapped(void* result) noexcept {
  if (result == MAP_FAILED) return {.error = errno};
  return {.at = static_cast<std::byte*>(result)};
}

// A mapping that fails at a fixed address leaves a hole there, which another thread's mmap may
// fill. The mapping is therefore created elsewhere first and then moved.
Mapped moved_onto(std::byte* at, std::size_t bytes, Mapped elsewhere) noexcept {
  if (elsewhere.error != 0) return elsewhere;
  int error = injected("mremap");
  if (error == 0) {
    constexpr int kOnto = MREMAP_MAYMOVE | MREMAP_FIXED;
    error = mapped(::mremap(elsewhere.at, bytes, bytes, kOnto, at)).error;
  }
  if (error == 0) return {.at = at};
  ::munmap(elsewhere.at, bytes);
  return {.error = error, .call = "mremap"};
}

// Returns the bytes of the ranges that were advised; 0 also where the kernel cannot do it.
std::size_t advise_at_once(std::span<const iovec> ranges, Advice advice) noexcept {
  constexpr int kOwnProcess = -10001;  // PIDFD_SELF_THREAD_GROUP
  static std::atomic<bool> refuses{false};
  if (refuses.load(std::memory_order_relaxed) || injected("process_madvise") != 0) return 0;
  const long done = ::syscall(SYS_process_madvise, kOwnProcess, ranges.data(), ranges.size(),
                              static_cast<int>(advice), 0);
  if (done >= 0) return static_cast<std::size_t>(done);
  const bool is_missing = errno == ENOSYS || errno == EBADF || errno == EPERM;
  if (is_missing) refuses.store(true, std::memory_order_relaxed);
  return 0;
}

constexpr int kReserved = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

}  // namespace

std::size_t page_size() noexcept {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::span<std::byte> pages_around(std::span<std::byte> range) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t first = round_down(begin, page_size());
  return {reinterpret_cast<std::byte*>(first), round_up(begin + range.size(), page_size()) - first};
}

std::size_t huge_page_size() {
  static const std::size_t size = kib_of(read_text("/proc/meminfo"), "Hugepagesize:").value_or(0);
  return size;
}

Mapped reserve(std::size_t bytes) noexcept {
  if (const int error = injected("mmap")) return {.error = error};
  return mapped(::mmap(nullptr, bytes, PROT_NONE, kReserved, -1, 0));
}

Mapped map_shared(int descriptor, std::size_t bytes, Access access, std::byte* at,
                  std::uint64_t offset) noexcept {
  if (const int error = injected("mmap")) return {.error = error};
  int protection = PROT_NONE;
  if (access != Access::none) protection |= PROT_READ;
  if (access == Access::write) protection |= PROT_WRITE;
  return moved_onto(at, bytes,
                    mapped(::mmap(nullptr, bytes, protection, MAP_SHARED, descriptor,
                                  static_cast<off_t>(offset))));
}

int unmap(std::byte* at, std::size_t bytes) noexcept {
  return ::munmap(at, bytes) == 0 ? 0 : errno;
}

int allow_write(std::byte* at, std::size_t bytes) noexcept {
  return errno_of("mprotect", [=] { return ::mprotect(at, bytes, PROT_READ | PROT_WRITE); });
}

int forbid_access(std::byte* at, std::size_t bytes) noexcept {
  return errno_of("mprotect", [=] { return ::mprotect(at, bytes, PROT_NONE); });
}

int reserve_again(std::byte* at, std::size_t bytes) noexcept {
  if (const int error = injected("mmap")) return error;
  return mapped(::mmap(at, bytes, PROT_NONE, kReserved | MAP_FIXED, -1, 0)).error;
}

int map_huge(std::byte* at, std::size_t bytes, std::size_t huge_page) noexcept {
  if (const int error = injected("mmap")) return error;
  const int size_code = std::countr_zero(huge_page) << MAP_HUGE_SHIFT;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | size_code;
  const Mapped pages = mapped(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0));
  return moved_onto(at, bytes, pages).error;
}

int advise(std::byte* at, std::size_t bytes, Advice advice) noexcept {
  return errno_of("madvise", [=] { return ::madvise(at, bytes, static_cast<int>(advice)); });
}

void AdviceForMany::add(std::byte* at, std::size_t bytes) noexcept {
  if (bytes == 0) return;
  if (collected_ == ranges_.size()) advise_collected();
  ranges_[collected_++] = {.iov_base = at, .iov_len = bytes};
}

int AdviceForMany::finish() noexcept {
  advise_collected();
  return error_;
}

// A call for many ranges ends at the first that is refused and returns the bytes before it.
void AdviceForMany::advise_collected() noexcept {
  std::span<const iovec> rest = std::span(ranges_).first(std::exchange(collected_, 0));
  while (!rest.empty()) {
    std::size_t done = rest.size() == 1 ? 0 : advise_at_once(rest, advice_);
    for (; !rest.empty() && done >= rest.front().iov_len; rest = rest.subspan(1)) {
      done -= rest.front().iov_len;
    }
    if (rest.empty()) return;
    const iovec& one = rest.front();
    const int error = advise(static_cast<std::byte*>(one.iov_base), one.iov_len, advice_);
    if (error != 0) error_ = error;
    rest = rest.subspan(1);
  }
}

int lock(std::byte* at, std::size_t bytes) noexcept {
  return errno_of("mlock", [=] { return ::mlock(at, bytes); });
}

// The kernel refuses to call locked pages cold. Other pages are only moved in the order of reclaim.
bool may_be_locked(std::byte* page) noexcept {
  constexpr int kCold = 20;  // MADV_COLD, Linux 5.4
  return errno_of("madvise_cold", [=] { return ::madvise(page, page_size(), kCold); }) != 0;
}

int unlock(std::byte* at, std::size_t bytes) noexcept {
  return errno_of("munlock", [=] { return ::munlock(at, bytes); });
}

std::size_t lock_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return std::numeric_limits<std::size_t>::max();
  }
  return limit.rlim_cur;
}

int populate(std::byte* at, std::size_t bytes, Access access) noexcept {
  if (const int error = injected("madvise")) return error;
  const int advice = access == Access::write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  int error = EINTR;
  while (error == EINTR || error == EAGAIN) {
    error = ::madvise(at, bytes, advice) == 0 ? 0 : errno;
  }
  return error;
}

}  // namespace tapedeck::internal::os
