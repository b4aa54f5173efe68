// SPDX-License-Identifier: Apache-2.0
/// @file
/// Returns what a function throws as a value, so that a test can check its fields.
#pragma once

#include <stdexcept>

namespace tapedeck::tests {

/// Returns the exception of this type that `work` throws. If it throws nothing, or something else,
/// the test fails with an exception.
template <class Exception>
[[nodiscard]] Exception thrown(const auto& work) {
  try {
    static_cast<void>(work());
  } catch (const Exception& exception) {
    return exception;
  }
  throw std::logic_error("nothing was thrown");
}

}  // namespace tapedeck::tests
