// SPDX-License-Identifier: Apache-2.0
#include "os/faults.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

TEST(InjectFault, LeavesCallsAloneOutsideOfTests) {
  EXPECT_EQ(os::injected("mmap"), 0);
  { const os::InjectFault fault(1, ENOMEM); }
  EXPECT_EQ(os::injected("mmap"), 0);
}

TEST(InjectFault, FailsTheNthCallAndNoOther) {
  const os::InjectFault fault(3, EPERM);
  EXPECT_EQ(os::injected("open"), 0);
  EXPECT_EQ(os::injected("fstat"), 0);
  EXPECT_FALSE(os::InjectFault::fired());
  EXPECT_STREQ(os::InjectFault::victim(), "");
  EXPECT_EQ(os::injected("mmap"), EPERM);
  EXPECT_TRUE(os::InjectFault::fired());
  EXPECT_STREQ(os::InjectFault::victim(), "mmap");
  EXPECT_EQ(os::injected("madvise"), 0);
  EXPECT_STREQ(os::InjectFault::victim(), "mmap");
  EXPECT_EQ(os::InjectFault::calls(), 4U);
}

TEST(InjectFault, OnlyCountsWithZero) {
  const os::InjectFault fault(0, ENOMEM);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(os::injected("mmap"), 0);
  EXPECT_EQ(os::InjectFault::calls(), 5U);
  EXPECT_FALSE(os::InjectFault::fired());
}

TEST(InjectFault, BeginsAnew) {
  {
    const os::InjectFault fault(1, ENOMEM);
    EXPECT_EQ(os::injected("mmap"), ENOMEM);
  }
  const os::InjectFault fault(2, EIO);
  EXPECT_EQ(os::InjectFault::calls(), 0U);
  EXPECT_FALSE(os::InjectFault::fired());
  EXPECT_STREQ(os::InjectFault::victim(), "");
  EXPECT_EQ(os::injected("open"), 0);
  EXPECT_EQ(os::injected("pread"), EIO);
}

TEST(InjectFault, FailsOneCallOfAllThreads) {
  const os::InjectFault fault(100, ENOMEM);
  std::atomic<int> failed{0};
  {
    std::array<std::jthread, 4> threads;
    for (std::jthread& thread : threads) {
      thread = std::jthread([&] {
        for (int call = 0; call < 100; ++call) failed += os::injected("madvise") == 0 ? 0 : 1;
      });
    }
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(os::InjectFault::calls(), 400U);
}

}  // namespace
}  // namespace tapedeck::tests
