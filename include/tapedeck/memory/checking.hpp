// SPDX-License-Identifier: Apache-2.0
/// @file
/// The hooks for all checking tools. In a build without any of the tools they compile to nothing.
///
/// With AddressSanitizer, or with Valgrind in a build with `TAPEDECK_VALGRIND`, memory of a tape is
/// poisoned from its commit on, except while it is taken, so a use after `clear_pass()` or behind
/// the last take fails at the offending line. With `TAPEDECK_RED_ZONES`, each take is followed by a
/// line that stays poisoned, so that an overrun into the next take fails as well; a tape then needs
/// one more line for each take. ThreadSanitizer reports two threads that write to a tape without a
/// happens-before between them. A build with `TAPEDECK_OWNER_CHECK` aborts at the first write by a
/// second thread.
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

/// Whether a tool uses the marks. If not, iterating over ranges only to mark them is wasted work.
#if defined(TAPEDECK_ASAN) || defined(TAPEDECK_MEMCHECK)
inline constexpr bool kListening = true;
#else
inline constexpr bool kListening = false;
#endif

/// Bytes behind each take of a tape of the host that belong to no take.
#if defined(TAPEDECK_RED_ZONES)
inline constexpr std::size_t kRedZone = 64;
#else
inline constexpr std::size_t kRedZone = 0;
#endif

/// Makes any access to these bytes an error from now on. @pre the range belongs to the caller.
inline void poison([[maybe_unused]] std::uintptr_t at,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TAPEDECK_ASAN)
  __asan_poison_memory_region(reinterpret_cast<void*>(at), bytes);
#elif defined(TAPEDECK_MEMCHECK)
  VALGRIND_MAKE_MEM_NOACCESS(at, bytes);
#endif
}

/// Allows access to these bytes again; their contents are undefined.
/// @pre the range belongs to the caller.
inline void unpoison([[maybe_unused]] std::uintptr_t at,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(TAPEDECK_ASAN)
  __asan_unpoison_memory_region(reinterpret_cast<void*>(at), bytes);
#elif defined(TAPEDECK_MEMCHECK)
  VALGRIND_MAKE_MEM_UNDEFINED(at, bytes);
#endif
}

#if defined(TAPEDECK_OWNER_CHECK)
/// The ID of the calling thread, as a debugger shows it.
[[nodiscard]] std::int32_t this_thread() noexcept;
/// Aborts the program with a message: both `other` and the calling thread have written to the tape.
[[noreturn]] void end_for_two_writers(const char* tape, std::int32_t other) noexcept;
#endif

/// Detects two writers on one tape. ThreadSanitizer cannot use the head for this, since it is
/// atomic, so it watches a plain word; the owner check compares thread IDs. Thread-safety: calls
/// from several threads are what it detects.
class WriterWatch {
 public:
  /// Notes an operation that only the writer may do.
  void on_write() noexcept {
    on_exclusive_write();
#if defined(TAPEDECK_OWNER_CHECK)
    std::int32_t before = 0;
    const std::int32_t now = this_thread();
    if (writer_.compare_exchange_strong(before, now, std::memory_order_relaxed)) return;
    if (before != now) end_for_two_writers(tape_, before);
#endif
  }
  /// Notes an operation that must not run concurrently with any other, on whichever thread.
  void on_exclusive_write() noexcept {
#if defined(TAPEDECK_TSAN)
    word_ = 1;
#endif
  }
  /// Notes an operation that several threads may do at the same time.
  void on_shared_write() const noexcept {
#if defined(TAPEDECK_TSAN)
    static_cast<void>(*static_cast<const volatile unsigned char*>(&word_));
#endif
  }
  /// Makes the next thread that writes the writer.
  void hand_over() noexcept {
#if defined(TAPEDECK_OWNER_CHECK)
    writer_.store(0, std::memory_order_relaxed);
#endif
  }
  /// Sets the tape's name for messages. @pre the text outlives this object.
  void watch([[maybe_unused]] const char* tape) noexcept {
#if defined(TAPEDECK_OWNER_CHECK)
    tape_ = tape;
#endif
  }
  /// Swaps the names. Neither tape has a writer afterwards.
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
