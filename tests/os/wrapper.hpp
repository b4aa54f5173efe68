/// @file
/// System calls, one by one, each of which is made to fail.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "os/faults.hpp"

namespace tapedeck::tests {

struct Wrapper {
  const char* call;
  std::function<int()> run;  ///< Gives errno.
};

/// Each asks before it acts, and passes on the errno that was injected.
inline void expect_each_can_fail(const std::vector<Wrapper>& wrappers) {
  for (const Wrapper& wrapper : wrappers) {
    const internal::os::InjectFault fault(1, EDOM);
    EXPECT_EQ(wrapper.run(), EDOM) << wrapper.call;
    EXPECT_STREQ(internal::os::InjectFault::victim(), wrapper.call);
  }
}

}  // namespace tapedeck::tests
