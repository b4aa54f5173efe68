// SPDX-License-Identifier: Apache-2.0
/// @file
/// `start_thread`: a thread, or an error that says what it was for.
#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "os/faults.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::os {

/// What to do where the host, a cgroup or a limit allows no further thread.
inline constexpr const char* kThreadAdvice =
    "raise the limit of processes (ulimit -u, pids.max of the cgroup), or end some";

/// @param object  what the thread is for, in the message of the error.
/// @throws SystemError if it cannot be started.
template <class Work>
[[nodiscard]] std::jthread start_thread(const std::string& object, Work&& work) {
  int error = injected("pthread_create");
  if (error == 0) {
    try {
      return std::jthread(std::forward<Work>(work));
    } catch (const std::system_error& refused) {
      error = refused.code().value();
    }
  }
  throw SystemError({.call = "pthread_create", .number = error, .object = object}, kThreadAdvice);
}

}  // namespace tapedeck::internal::os
