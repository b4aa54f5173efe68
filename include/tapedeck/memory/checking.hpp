/// @file
/// The hooks for every checking tool, in one place. With AddressSanitizer, or with Valgrind where
/// the build asks for it (`TAPEDECK_VALGRIND`), memory that a tape took back is poisoned, so a use
/// after `clear_pass()` dies at the faulting line. In other builds both calls are nothing.
/// Thread-safety: the range must belong to the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

#if defined(TAPEDECK_ASAN)
#include <sanitizer/asan_interface.h>
#elif defined(TAPEDECK_VALGRIND)
#include <valgrind/memcheck.h>
#endif

namespace tapedeck::internal {
TAPEDECK_ABI_BEGIN
namespace checking {

/// Whether any tool listens: where none does, walking ranges only to mark them is not worth it.
#if defined(TAPEDECK_ASAN) || defined(TAPEDECK_VALGRIND)
inline constexpr bool kListening = true;
#else
inline constexpr bool kListening = false;
#endif

/// From now on any access to these bytes is an error.
inline void poison([[maybe_unused]] std::uintptr_t at,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TAPEDECK_ASAN)
  __asan_poison_memory_region(reinterpret_cast<void*>(at), bytes);
#elif defined(TAPEDECK_VALGRIND)
  VALGRIND_MAKE_MEM_NOACCESS(at, bytes);
#endif
}

/// From now on these bytes may be used; their contents are undefined.
inline void unpoison([[maybe_unused]] std::uintptr_t at,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TAPEDECK_ASAN)
  __asan_unpoison_memory_region(reinterpret_cast<void*>(at), bytes);
#elif defined(TAPEDECK_VALGRIND)
  VALGRIND_MAKE_MEM_UNDEFINED(at, bytes);
#endif
}

}  // namespace checking
TAPEDECK_ABI_END
}  // namespace tapedeck::internal
