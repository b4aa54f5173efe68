// SPDX-License-Identifier: Apache-2.0
// Counts heap allocations for `PassGuard`. In a program that links the target tapedeck::heap_hook,
// this replaces malloc and related functions. operator new is counted because it calls malloc.
//
// In sanitized builds, the sanitizer owns malloc and reports each allocation through its own hook.

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tapedeck/base/abi.hpp"

namespace {

constinit std::atomic<std::uint64_t> allocations{0};

void count() noexcept { allocations.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

// These names belong to the C library and the sanitizers.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-*)
extern "C" {

std::uint64_t tapedeck_heap_allocations() noexcept;

std::uint64_t tapedeck_heap_allocations() noexcept {
  return allocations.load(std::memory_order_relaxed);
}

#if defined(TAPEDECK_ASAN) || defined(TAPEDECK_TSAN)

int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*,
                                                                  std::size_t),
                                              void (*free_hook)(const volatile void*));

#else

// glibc's own names of the functions replaced here.
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* block, std::size_t bytes);
void* __libc_memalign(std::size_t align, std::size_t bytes);

void* malloc(std::size_t bytes) noexcept {
  count();
  return __libc_malloc(bytes);
}

void* calloc(std::size_t number, std::size_t bytes) noexcept {
  count();
  return __libc_calloc(number, bytes);
}

void* realloc(void* block, std::size_t bytes) noexcept {
  count();
  return __libc_realloc(block, bytes);
}

void* memalign(std::size_t align, std::size_t bytes) noexcept {
  count();
  return __libc_memalign(align, bytes);
}

void* aligned_alloc(std::size_t align, std::size_t bytes) noexcept {
  count();
  return __libc_memalign(align, bytes);
}

int posix_memalign(void** block, std::size_t align, std::size_t bytes) noexcept {
  if (align % sizeof(void*) != 0 || (align & (align - 1)) != 0 || align == 0) return EINVAL;
  count();
  void* found = __libc_memalign(align, bytes);
  if (found == nullptr) return ENOMEM;
  *block = found;
  return 0;
}

#endif

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-*)

#if defined(TAPEDECK_ASAN) || defined(TAPEDECK_TSAN)
namespace {
[[maybe_unused]] const int hooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { count(); }, [](const volatile void*) {});
}  // namespace
#endif
