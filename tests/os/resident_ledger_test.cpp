// SPDX-License-Identifier: Apache-2.0
#include "os/resident_ledger.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <optional>
#include <thread>

#include "os/addresses.hpp"
#include "os/child.hpp"
#include "os/limits.hpp"
#include "os/memory_cgroup.hpp"
#include "os/self.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

using Ledger = os::ResidentLedger;

constexpr std::size_t kLimit = 64_MiB;

TEST(ResidentLedger, CountsWhatIsClaimedUntilItIsReleased) {
  const std::size_t before = Ledger::claimed();
  {
    Ledger::Claim claim;
    EXPECT_FALSE(claim.add(3_MiB));
    EXPECT_FALSE(claim.add(1_MiB));
    EXPECT_EQ(Ledger::claimed(), before + 4_MiB);
    claim.reduce(5_MiB);
    EXPECT_EQ(Ledger::claimed(), before + 4_MiB);
    claim.reduce(1_MiB);
    EXPECT_EQ(Ledger::claimed(), before + 1_MiB);
    claim.release();
    EXPECT_EQ(Ledger::claimed(), before);
    EXPECT_FALSE(claim.add(2_MiB));
  }
  EXPECT_EQ(Ledger::claimed(), before);
}

TEST(ResidentLedger, CountsThePagesOfAClaim) {
  const std::size_t before = Ledger::claimed();
  std::array<Ledger::Claim, 3> claims;
  const os::Mapped mapped = os::reserve(3_MiB);
  ASSERT_EQ(mapped.error, 0);
  for (Ledger::Claim& claim : claims) {
    EXPECT_FALSE(claim.add_pages({mapped.at, 1_MiB}, os::PageSource::new_pages, 1_MiB));
  }
  EXPECT_FALSE(claims[1].add_pages({mapped.at + 1_MiB, 2_MiB}, os::PageSource::new_pages, 2_MiB));
  EXPECT_EQ(Ledger::claimed(), before + 5_MiB);
  EXPECT_TRUE(Ledger::covers({mapped.at + 1_MiB, 2_MiB}));
  EXPECT_FALSE(Ledger::covers({mapped.at + 1_MiB, 2_MiB + 1}));
  claims[1].shrink_to(mapped.at + 2_MiB);
  EXPECT_EQ(Ledger::claimed(), before + 4_MiB);
  for (const std::size_t which : {1U, 0U, 2U}) claims[which].release();
  EXPECT_EQ(Ledger::claimed(), before);
  EXPECT_FALSE(claims[1].has_pages());
  EXPECT_EQ(os::unmap(mapped.at, 3_MiB), 0);
}

class TwoRuns : public os::ClaimedRuns {
 public:
  explicit TwoRuns(std::byte* at) : at_(at) {}
  void each_run(const RunDo& run_do) const override {
    run_do({at_, 1_MiB});
    run_do({at_ + 2_MiB, 1_MiB});
  }

 private:
  std::byte* at_;
};

TEST(ResidentLedger, CountsAClaimOfSeveralRanges) {
  const std::size_t before = Ledger::claimed();
  const FreshPages pages(3_MiB / kPage);
  const TwoRuns runs(pages.at());
  Ledger::Claim claim;
  EXPECT_FALSE(claim.add_runs(runs, 1_MiB));
  EXPECT_FALSE(claim.add_runs(runs, 1_MiB));
  EXPECT_TRUE(claim.has_pages());
  EXPECT_EQ(Ledger::claimed(), before + 2_MiB);
  EXPECT_TRUE(Ledger::covers({pages.at() + 2_MiB, 1_MiB}));
  EXPECT_FALSE(Ledger::covers({pages.at() + 1_MiB, 1_MiB}));
  in_child([&] { EXPECT_EQ(Ledger::claimed(), before + 2_MiB); });
  claim.renew_on_fork();
  claim.reduce(0);
  in_child([&] { EXPECT_EQ(Ledger::claimed(), before + 2_MiB); });
  claim.release();
  EXPECT_EQ(Ledger::claimed(), before);
  EXPECT_FALSE(claim.has_pages());
}

/// Runs children inside a group of 64 MiB.
class LedgerInGroup : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!group_.ready()) GTEST_SKIP() << "no memory cgroup can be created here";
    if (kSanitized) GTEST_SKIP() << "a sanitizer needs memory of its own for each byte";
  }

  MemoryCgroup group_{kLimit};
};

TEST_F(LedgerInGroup, RefusesWhatIsClaimedElsewhere) {
  group_.in_group([&] {
    Ledger::Claim first;
    EXPECT_FALSE(first.add(40_MiB));
    Ledger::Claim second;
    const std::optional<os::Budget> refused = second.add(40_MiB);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->limit, group_.limit());
    EXPECT_LE(refused->available, 24_MiB);
    EXPECT_GE(refused->available, 8_MiB);
    EXPECT_EQ(Ledger::claimed(), 40_MiB);
    first.reduce(0);
    EXPECT_FALSE(second.add(40_MiB));
  });
}

TEST_F(LedgerInGroup, CountsPagesThatAreThereOnlyOnce) {
  group_.in_group([] {
    const os::Mapped mapped = os::reserve(40_MiB);
    ASSERT_EQ(os::allow_write(mapped.at, 40_MiB), 0);
    Ledger::Claim claim;
    EXPECT_FALSE(claim.add_pages({mapped.at, 40_MiB}, os::PageSource::new_pages, 40_MiB));
    ASSERT_EQ(os::populate(mapped.at, 40_MiB, os::Access::write), 0);
    Ledger::Claim second;
    EXPECT_FALSE(second.add(12_MiB));
    EXPECT_TRUE(Ledger::Claim().add(12_MiB));
  });
}

// The kernel may have counted the pages of an arrival or not.
TEST_F(LedgerInGroup, AnArrivalWaitsForOthersNearTheLimit) {
  group_.in_group([&] {
    Ledger::Arrival first;
    EXPECT_FALSE(first.begin(40_MiB));
    Ledger::Arrival second;
    EXPECT_FALSE(second.begin(1_MiB));
    second.end();
    const std::optional<os::Budget> refused = second.begin(2 * kLimit);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->limit, group_.limit());
    std::atomic<bool> began{false};
    std::jthread waits([&] {
      while (second.begin(40_MiB)) {
      }  // it gives up after a second
      began = true;
    });
    EXPECT_FALSE(began);
    first.end();
    waits.join();
    EXPECT_TRUE(began);
  });
}

TEST_F(LedgerInGroup, StepsAreSmallNearTheLimit) {
  group_.in_group([] {
    Ledger::Claim claim;
    EXPECT_FALSE(claim.add(1_MiB));
    EXPECT_EQ(Ledger::step_of(1), 1U);
    const std::size_t far = Ledger::step_of(kLimit);
    EXPECT_LE(far, kLimit / 32);
    EXPECT_GE(far, 512_KiB);
    Ledger::Arrival arrival;
    EXPECT_FALSE(arrival.begin(54_MiB));
    const std::size_t near = Ledger::step_of(kLimit);
    EXPECT_LE(near, 256_KiB);
    EXPECT_GE(near, 64_KiB);
    EXPECT_EQ(near % 64_KiB, 0U);
  });
}

// What a block has committed goes on, and what a call of another thread has claimed does not: its
// stack may be used for a new thread.
TEST(ResidentLedger, KeepsTheClaimsOnMemoryInAForkedChild) {
  const os::Mapped mapped = os::reserve(5_MiB);
  ASSERT_EQ(mapped.error, 0);
  const auto add_to = [&](Ledger::Claim& claim, std::size_t mib) {
    EXPECT_FALSE(claim.add_pages({mapped.at, mib << 20}, os::PageSource::new_pages, mib << 20));
  };
  Ledger::Claim of_block;
  add_to(of_block, 1);
  Ledger::Claim renewed;
  renewed.renew_on_fork();
  add_to(renewed, 2);
  renewed.reduce(0);
  Ledger::Claim of_job;
  EXPECT_FALSE(of_job.add(4_MiB));
  Ledger::Claim of_this_call;
  of_this_call.end_with_call();
  add_to(of_this_call, 3);
  std::barrier forked(2);
  std::jthread other([&] {
    Ledger::Claim of_other_call;
    of_other_call.end_with_call();
    add_to(of_other_call, 5);
    forked.arrive_and_wait();
    forked.arrive_and_wait();
  });
  forked.arrive_and_wait();
  in_child([&] {
    EXPECT_EQ(Ledger::claimed(), 6_MiB);
    of_job.release();
    EXPECT_EQ(Ledger::claimed(), 6_MiB);
    of_block.release();
    EXPECT_EQ(Ledger::claimed(), 5_MiB);
  });
  forked.arrive_and_wait();
  EXPECT_EQ(os::unmap(mapped.at, 5_MiB), 0);
}

// The child may be forked while another thread is changing the ledger or has an arrival under way.
TEST(ResidentLedger, WorksInAForkedChild) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own locks may hang in such a child";
  std::atomic<bool> done{false};
  std::jthread changes([&] {
    while (!done) {
      Ledger::Claim claim;
      EXPECT_FALSE(claim.add(64_KiB));
      Ledger::Arrival arrival;
      EXPECT_FALSE(arrival.begin(64_KiB));
    }
  });
  for (int i = 0; i < 50; ++i) {
    in_child([] {
      EXPECT_EQ(Ledger::claimed(), 0U);  // the other thread and its claim are not here
      Ledger::Filling filling;
      EXPECT_FALSE(filling.begin(1_MiB));
    });
  }
  done = true;
}

}  // namespace
}  // namespace tapedeck::tests
