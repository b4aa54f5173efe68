#include "os/futex.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "os/self.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

// The number of the system call a thread of this process is in, as the kernel tells; "" where it
// does not.
std::string call_of(pid_t thread) {
  const std::string text = text_of("/proc/self/task/" + std::to_string(thread) + "/syscall");
  return text.substr(0, text.find(' '));
}

void wait_until_asleep(const std::atomic<pid_t>& thread) {
  while (thread == 0 || call_of(thread) != std::to_string(SYS_futex)) std::this_thread::yield();
}

TEST(Futex, DoesNotSleepOnAWordThatChanged) {
  const std::atomic<std::uint32_t> word{7};
  os::futex_wait(word, 6);
  os::futex_wait(word, 8);
}

TEST(Futex, WakesNobodyWithoutHarm) {
  const std::atomic<std::uint32_t> word{0};
  os::futex_wake_all(word);
}

TEST(Futex, WakesAllThatSleep) {
  if (call_of(::gettid()).empty()) GTEST_SKIP() << "the kernel does not tell what threads wait for";
  constexpr std::size_t kThreads = 4;
  std::atomic<std::uint32_t> word{0};
  std::atomic<std::uint32_t> awake{0};
  std::array<std::atomic<pid_t>, kThreads> ids{};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      ids[i] = ::gettid();
      while (word == 0) os::futex_wait(word, 0);
      ++awake;
    });
  }
  for (const auto& id : ids) wait_until_asleep(id);
  EXPECT_EQ(awake, 0U);
  word = 1;
  os::futex_wake_all(word);
  threads.clear();
  EXPECT_EQ(awake, kThreads);
}

}  // namespace
}  // namespace tapedeck::tests
