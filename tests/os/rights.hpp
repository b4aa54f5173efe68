// SPDX-License-Identifier: Apache-2.0
/// @file
/// Runs a part of a test in a child that has fewer rights, or tighter limits, than the test.
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <functional>

#include "os/child.hpp"
#include "os/self.hpp"

namespace tapedeck::tests {

[[nodiscard]] inline bool is_root() { return ::geteuid() == 0; }

// An ordinary user has no more rights than the user nobody anyway.
inline void become_nobody() {
  constexpr unsigned kNobody = 65534;
  if (!is_root()) return;
  ASSERT_EQ(::setgroups(0, nullptr), 0);
  ASSERT_EQ(::setgid(kNobody), 0);
  ASSERT_EQ(::setuid(kNobody), 0);
  ASSERT_NE(::setuid(0), 0) << "the process can become root again";
  ASSERT_EQ(number_of("/proc/self/status", "CapEff:"), 0U);
  // As after exec of an ordinary program: /proc/self belongs to the process again.
  ASSERT_EQ(::prctl(PR_SET_DUMPABLE, 1), 0);
}

/// Runs a part of a test in a child under another user id.
inline void as_nobody(const std::function<void()>& work) {
  in_child([&] {
    become_nobody();
    work();
  });
}

/// Sets a limit of this process (RLIMIT_AS, ...) permanently. Use it in a child.
inline void limit(int resource, std::size_t value) {
  const rlimit both = {value, value};
  ASSERT_EQ(::setrlimit(static_cast<__rlimit_resource>(resource), &both), 0);
}

}  // namespace tapedeck::tests
