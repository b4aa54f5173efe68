// SPDX-License-Identifier: Apache-2.0
#include "os/file_size_limit.hpp"

#include <cerrno>
#include <csignal>
#include <ctime>

namespace tapedeck::internal::os {
namespace {

sigset_t only_size_signal() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGXFSZ);
  return set;
}

}  // namespace

WithoutSizeSignal::WithoutSizeSignal() noexcept {
  const sigset_t set = only_size_signal();
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  was_blocked_ = ::sigismember(&before, SIGXFSZ) == 1;
}

WithoutSizeSignal::~WithoutSizeSignal() {
  if (was_blocked_) return;  // the caller handles it
  const int error = errno;
  const sigset_t set = only_size_signal();
  const timespec at_once{};
  while (::sigtimedwait(&set, nullptr, &at_once) < 0 && errno == EINTR) {
  }
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  errno = error;
}

}  // namespace tapedeck::internal::os
