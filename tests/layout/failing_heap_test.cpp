// SPDX-License-Identifier: Apache-2.0
// Makes each heap allocation fail in turn. A program of its own, because it replaces operator new.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <new>

#include "os/self.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace {

// How many more allocations succeed; negative means all of them.
long succeeding = -1;

void* allocate(std::size_t bytes, std::size_t align) {
  if (succeeding >= 0 && succeeding-- == 0) throw std::bad_alloc();
  void* at = nullptr;
  if (::posix_memalign(&at, align, bytes) != 0) throw std::bad_alloc();
  return at;
}

// During its lifetime, the k-th allocation from now (counted from 0) fails, and those before it
// succeed.
class FailingAllocation {
 public:
  explicit FailingAllocation(long k) noexcept { succeeding = k; }
  ~FailingAllocation() { succeeding = -1; }
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  [[nodiscard]] static bool reached() noexcept { return succeeding < 0; }
};

// Not inline, because GCC would see that the result of `new` is passed to free, and warn.
[[gnu::noinline]] void release(void* at) noexcept { std::free(at); }

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t align) {
  return allocate(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* at) noexcept { release(at); }
void operator delete(void* at, std::size_t) noexcept { release(at); }
void operator delete(void* at, std::align_val_t) noexcept { release(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { release(at); }

namespace tapedeck::tests {
namespace {

// Runs `work` with the k-th allocation failing, for each k until a run succeeds. Each failure must
// be reported as bad_alloc or as an error of ours, and leave nothing behind.
void expect_all_or_nothing(const std::function<void()>& work) {
  work();  // creates whatever is created only once
  for (long k = 0; k < 1000; ++k) {
    const Holdings before = holdings();
    bool hurt = true;
    try {
      const FailingAllocation failing(k);
      work();
      hurt = FailingAllocation::reached();
    } catch (const std::bad_alloc&) {
    } catch (const Error&) {
    }
    EXPECT_TRUE(same(before, holdings())) << "allocation " << k;
    if (!hurt) {
      EXPECT_GT(k, 2);
      return;
    }
  }
  FAIL() << "a thousand allocations and no end";
}

TEST(FailingHeap, CreatingALayoutIsAllOrNothing) {
  expect_all_or_nothing([] {
    const BlockOptions wishes = {.lock = true, .core_dump = false};
    const Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB},
                        {.talks = 3,
                         .weights = {.name = "a name that is too long for the string itself"},
                         .history = {.name = "history", .block = wishes}});
    EXPECT_EQ(layout.talks(), 3U);
  });
}

TEST(FailingHeap, StartingASharedTapeIsAllOrNothing) {
  expect_all_or_nothing([] {
    const SharedTape tape = SharedTape::start(
        1_MiB, {.name = "a name that is too long for the string itself, and more of it"});
    EXPECT_EQ(tape.used(), 0U);
  });
}

TEST(FailingHeap, ASplitThatFailsLeavesTheTapeWhole) {
  Tape tape = Tape::start(1_MiB, {.name = "a name that is too long for the string itself"});
  for (long k = 0; tape.children().empty(); ++k) {
    ASSERT_LT(k, 100);
    try {
      const FailingAllocation failing(k);
      (void)tape.split(3);
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(tape.used(), 0U);
      EXPECT_EQ(tape.floor(), 0U);
      EXPECT_TRUE(tape.children().empty());
    }
  }
  EXPECT_EQ(tape.children().size(), 3U);
}

}  // namespace
}  // namespace tapedeck::tests
