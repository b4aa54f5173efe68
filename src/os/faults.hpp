// SPDX-License-Identifier: Apache-2.0
/// @file
/// Makes the n-th system call fail, for tests. Calls in this room check `injected` first, which
/// outside of tests costs one load.
#pragma once

#include <cerrno>
#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// As the error of an `InjectFault`: the call does nothing and reports success, as the kernel does
/// with some advice. Only calls made by `errno_of` can do this.
inline constexpr int kSucceedsIdly = -1;

/// While an object exists, the `n`-th call (from 1) of this room fails with `error`, on whichever
/// thread it happens; n = 0 only counts calls. Only one object may exist at a time.
class InjectFault {
 public:
  InjectFault(std::uint64_t n, int error) noexcept;
  ~InjectFault();
  InjectFault(const InjectFault&) = delete;
  InjectFault& operator=(const InjectFault&) = delete;

  [[nodiscard]] static std::uint64_t calls() noexcept;  ///< Calls made since the object's creation.
  [[nodiscard]] static bool fired() noexcept;           ///< Whether the n-th call was reached.
  [[nodiscard]] static const char* victim() noexcept;   ///< The call that failed, or "".
  /// Whether a call is to succeed idly, so that what was found out about the kernel may be wrong.
  [[nodiscard]] static bool idles() noexcept;
};

/// While an object exists, calls of its thread neither fail nor count. For calls that are made only
/// if an earlier answer is too old: a test that counts calls must not depend on the time.
class UncountedCalls {
 public:
  UncountedCalls() noexcept;
  ~UncountedCalls();
  UncountedCalls(const UncountedCalls&) = delete;
  UncountedCalls& operator=(const UncountedCalls&) = delete;
};

/// The errno that the named call must fail with now; 0 to proceed.
[[nodiscard]] int injected(const char* call) noexcept;

/// Makes a call that returns -1 and sets errno on failure, unless a test makes it fail. Returns
/// errno, or 0 for success.
template <class Call>
[[nodiscard]] int errno_of(const char* name, const Call& call) noexcept {
  if (const int error = injected(name)) return error == kSucceedsIdly ? 0 : error;
  return call() < 0 ? errno : 0;
}

}  // namespace tapedeck::internal::os
