/// @file
/// System calls, one by one, for tests in which each fails.
#pragma once

#include <functional>

namespace tapedeck::tests {

struct Wrapper {
  const char* call;
  std::function<int()> run;  ///< Gives errno.
};

}  // namespace tapedeck::tests
