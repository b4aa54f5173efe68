/// @file
/// What a piece of work throws, as a value whose fields a test can look at.
#pragma once

#include <stdexcept>

namespace tapedeck::tests {

/// The exception of this type that `work` throws. Where it throws nothing, or something else, the
/// test fails with an exception of its own.
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
