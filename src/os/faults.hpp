/// @file
/// Makes the N-th system call fail, for tests. Every call in this room asks `injected` first;
/// outside tests that is one load of a zero.
#pragma once

#include <cerrno>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// While alive, the `n`-th call (from 1) of this room fails with `error`, on whatever thread it
/// comes; n = 0 only counts. One at a time.
class InjectFault {
 public:
  InjectFault(std::uint64_t n, int error) noexcept;
  ~InjectFault();
  InjectFault(const InjectFault&) = delete;
  InjectFault& operator=(const InjectFault&) = delete;

  [[nodiscard]] static std::uint64_t calls() noexcept;  ///< Made since this was created.
  [[nodiscard]] static bool fired() noexcept;           ///< Whether the n-th call was reached.
  [[nodiscard]] static const char* victim() noexcept;   ///< The call that failed, or "".
};

/// The errno the call named must fail with now; 0: go on.
[[nodiscard]] int injected(const char* call) noexcept;

/// Makes a call that says -1 and leaves its reason in errno, unless a test makes it fail. Gives
/// errno, 0 for success.
template <class Call>
[[nodiscard]] int errno_of(const char* name, const Call& call) noexcept {
  if (const int error = injected(name)) return error;
  return call() < 0 ? errno : 0;
}

}  // namespace tapedeck::internal::os
