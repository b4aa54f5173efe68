/// @file
/// The hooks for every checking tool, in one place. In a build for none of them they are nothing.
///
/// With AddressSanitizer, or with Valgrind where the build asks for it (`TAPEDECK_VALGRIND`),
/// memory that a tape took back is poisoned, so a use after `clear_pass()` dies at the faulting
/// line. ThreadSanitizer reports two threads that write on a tape without a happens-before between
/// them, and a build with `TAPEDECK_OWNER_CHECK` ends at the first write of a second thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "tapedeck/base/abi.hpp"

#if defined(TAPEDECK_ASAN)
#include <sanitizer/asan_interface.h>
#elif defined(TAPEDECK_MEMCHECK)
#include <valgrind/memcheck.h>
#endif

namespace tapedeck::internal::inline TAPEDECK_ABI {
namespace checking {

/// Whether any tool listens: where none does, walking ranges only to mark them is not worth it.
#if defined(TAPEDECK_ASAN) || defined(TAPEDECK_MEMCHECK)
inline constexpr bool kListening = true;
#else
inline constexpr bool kListening = false;
#endif

/// From now on any access to these bytes is an error. @pre the range belongs to the caller.
inline void poison([[maybe_unused]] std::uintptr_t at,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TAPEDECK_ASAN)
  __asan_poison_memory_region(reinterpret_cast<void*>(at), bytes);
#elif defined(TAPEDECK_MEMCHECK)
  VALGRIND_MAKE_MEM_NOACCESS(at, bytes);
#endif
}

/// From now on these bytes may be used; their contents are undefined. @pre as `poison`.
inline void unpoison([[maybe_unused]] std::uintptr_t at,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TAPEDECK_ASAN)
  __asan_unpoison_memory_region(reinterpret_cast<void*>(at), bytes);
#elif defined(TAPEDECK_MEMCHECK)
  VALGRIND_MAKE_MEM_UNDEFINED(at, bytes);
#endif
}

#if defined(TAPEDECK_OWNER_CHECK)
/// The calling thread, as a debugger shows it.
[[nodiscard]] std::int32_t this_thread() noexcept;
/// Ends the program with a message: `other` wrote on the tape before, and so does the caller.
[[noreturn]] void end_for_two_writers(const char* tape, std::int32_t other) noexcept;
#endif

/// Finds two writers on one tape. The head itself is atomic, so ThreadSanitizer has a plain word to
/// look at, and the owner check a thread to compare with. Thread-safety: that is what it checks.
class WriterWatch {
 public:
  /// The writer does something.
  void on_write() noexcept {
    on_exclusive_write();
#if defined(TAPEDECK_OWNER_CHECK)
    std::int32_t before = 0;
    const std::int32_t now = this_thread();
    if (writer_.compare_exchange_strong(before, now, std::memory_order_relaxed)) return;
    if (before != now) end_for_two_writers(tape_, before);
#endif
  }
  /// Something that nothing else may run beside, whichever thread does it.
  void on_exclusive_write() noexcept {
#if defined(TAPEDECK_TSAN)
    word_ = 1;
#endif
  }
  /// Something that others may do at the same time.
  void on_shared_write() const noexcept {
#if defined(TAPEDECK_TSAN)
    static_cast<void>(*static_cast<const volatile unsigned char*>(&word_));
#endif
  }
  /// The next thread that writes is the writer.
  void hand_over() noexcept {
#if defined(TAPEDECK_OWNER_CHECK)
    writer_.store(0, std::memory_order_relaxed);
#endif
  }
  /// What a message calls the tape: a text that lives as long.
  void watch([[maybe_unused]] const char* tape) noexcept {
#if defined(TAPEDECK_OWNER_CHECK)
    tape_ = tape;
#endif
  }
  /// A tape that was moved has no writer yet.
  void swap([[maybe_unused]] WriterWatch& other) noexcept {
    hand_over();
    other.hand_over();
#if defined(TAPEDECK_OWNER_CHECK)
    std::swap(tape_, other.tape_);
#endif
  }

 private:
#if defined(TAPEDECK_TSAN)
  unsigned char word_ = 0;
#endif
#if defined(TAPEDECK_OWNER_CHECK)
  std::atomic<std::int32_t> writer_{0};  // 0: none yet
  const char* tape_ = "none";
#endif
};

}  // namespace checking
}  // namespace tapedeck::internal::inline TAPEDECK_ABI
