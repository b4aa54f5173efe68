// SPDX-License-Identifier: Apache-2.0
#include "os/resident_ledger.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <optional>
#include <thread>

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
    EXPECT_FALSE(claim.grow({mapped.at, 1_MiB}, os::PageSource::new_pages, 1_MiB));
  }
  EXPECT_FALSE(claims[1].grow({mapped.at, 3_MiB}, os::PageSource::new_pages, 2_MiB));
  EXPECT_EQ(Ledger::claimed(), before + 5_MiB);
  EXPECT_TRUE(Ledger::covers({mapped.at + 1_MiB, 2_MiB}));
  EXPECT_FALSE(Ledger::covers({mapped.at + 1_MiB, 2_MiB + 1}));
  claims[1].shrink(2_MiB);
  EXPECT_EQ(Ledger::claimed(), before + 4_MiB);
  for (const std::size_t which : {1U, 0U, 2U}) claims[which].release();
  EXPECT_EQ(Ledger::claimed(), before);
  EXPECT_TRUE(claims[1].empty());
  EXPECT_EQ(os::unmap(mapped.at, 3_MiB), 0);
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
    EXPECT_TRUE(second.empty());
    first.reduce(0);
    EXPECT_FALSE(second.add(40_MiB));
  });
}

TEST_F(LedgerInGroup, CountsPagesThatAreThereOnlyOnce) {
  group_.in_group([] {
    const os::Mapped mapped = os::reserve(40_MiB);
    ASSERT_EQ(os::allow_write(mapped.at, 40_MiB), 0);
    Ledger::Claim claim;
    EXPECT_FALSE(claim.grow({mapped.at, 40_MiB}, os::PageSource::new_pages, 40_MiB));
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
    std::optional<os::Budget> refused;
    EXPECT_TRUE(second.try_begin(1_MiB, refused));
    EXPECT_FALSE(refused);
    second.end();
    EXPECT_FALSE(second.try_begin(40_MiB, refused));
    EXPECT_FALSE(refused);
    EXPECT_TRUE(second.try_begin(2 * kLimit, refused));
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->limit, group_.limit());
    std::atomic<bool> began{false};
    std::jthread waits([&] {
      EXPECT_FALSE(second.begin(40_MiB));
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
