// SPDX-License-Identifier: Apache-2.0
/// @file
/// The wrappers of system calls, one by one, each made to fail.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "os/faults.hpp"

namespace tapedeck::tests {

struct Wrapper {
  const char* call;
  std::function<int()> run;  ///< Returns errno.
};

/// Each asks for an injected fault before it acts, and returns the errno that was injected.
inline void expect_each_can_fail(const std::vector<Wrapper>& wrappers) {
  for (const Wrapper& wrapper : wrappers) {
    const internal::os::InjectFault fault(1, EDOM);
    EXPECT_EQ(wrapper.run(), EDOM) << wrapper.call;
    EXPECT_STREQ(internal::os::InjectFault::victim(), wrapper.call);
  }
}

}  // namespace tapedeck::tests
