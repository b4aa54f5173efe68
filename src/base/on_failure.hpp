/// @file
/// The one way acquisitions of several steps roll back: each step that succeeded leaves an
/// `OnFailure` behind, and scopes unwind in reverse order.
#pragma once

#include <utility>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Runs `undo` when it goes out of scope, unless the acquisition was completed.
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

/// Whether the call ended without an exception, whatever it would have been.
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
