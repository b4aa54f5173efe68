// SPDX-License-Identifier: Apache-2.0
/// @file
/// `OnFailure`: how acquisitions of several steps are rolled back. Each step that succeeds creates
/// an `OnFailure`, and they are destroyed in reverse order.
#pragma once

#include <utility>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Runs `undo` when it goes out of scope, unless `completed()` was called.
template <class Undo>
class [[nodiscard]] OnFailure {
 public:
  explicit OnFailure(Undo undo) : undo_(std::move(undo)) {}
  ~OnFailure() {
    if (armed_) undo_();
  }
  OnFailure(const OnFailure&) = delete;
  OnFailure& operator=(const OnFailure&) = delete;

  void completed() noexcept { armed_ = false; }

 private:
  Undo undo_;
  bool armed_ = true;
};

/// Whether the call returns without an exception of any type.
template <class Call>
[[nodiscard]] bool succeeds(const Call& call) noexcept {
  try {
    call();
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace tapedeck::internal
