// SPDX-License-Identifier: Apache-2.0
/// @file
/// `OwnProcess` and `DeleteInOwnProcess`: for objects with threads in a process that forks.
#pragma once

#include <cstdint>

#include "os/process.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::os {

/// The process that created an object. A forked child has a copy of the object, but none of its
/// threads. Thread-safety: a value.
class OwnProcess {
 public:
  [[nodiscard]] bool is_here() const noexcept { return process_id() == id_; }

  /// @throws WrongState in a forked child. @param object  the object's name in the message.
  void require_here(const char* object) const {
    if (is_here()) return;
    throw WrongState(object, ObjectState::forked,
                     std::string("this is a forked child, and the thread of the ") + object +
                         " is in its parent",
                     "create a new one in the child");
  }

 private:
  std::int32_t id_ = process_id();
};

/// Deletes an object that has threads, but only in the process that created it. In a forked child,
/// joining a thread or destroying a condition variable that one waits on would never end, so the
/// object is leaked there.
struct DeleteInOwnProcess {
  template <class T>
  void operator()(T* object) const noexcept {
    if (process.is_here()) delete object;
  }

  OwnProcess process{};
};

}  // namespace tapedeck::internal::os
