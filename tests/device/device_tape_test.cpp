// SPDX-License-Identifier: Apache-2.0
// What only device tapes do. tape_contract_test checks that they keep the contract of tapes.

#include "tapedeck/device/device_tape.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "device/held_stream.hpp"
#include "memory/pattern.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::Pair;

constexpr std::size_t kDevicePage = 64_KiB;

class DeviceTapeTest : public ::testing::Test {
 protected:
  HostDevice device_{{.memory = 64_MiB, .granularity = kDevicePage}};
  PagePool pool_{device_};
};

TEST_F(DeviceTapeTest, TakeNeverGrowsAndPrepareDoes) {
  DeviceTape tape = DeviceTape::reserve(pool_, 1_GiB, {.name = "scratch"});
  EXPECT_EQ(tape.total(), 1_GiB);
  EXPECT_EQ(tape.committed(), 0U);
  EXPECT_EQ(tape.try_take(1), nullptr);
  EXPECT_THROW((void)tape.take(1), TapeFull);
  tape.prepare(1);
  EXPECT_EQ(tape.committed(), kDevicePage);
  EXPECT_NE(tape.try_take(kDevicePage), nullptr);
  EXPECT_EQ(tape.try_take(1), nullptr);
  tape.prepare(9 * kDevicePage);
  EXPECT_EQ(tape.committed(), 10 * kDevicePage);
}

TEST_F(DeviceTapeTest, ATakeThatIsNotPreparedSaysSo) {
  DeviceTape tape = DeviceTape::reserve(pool_, 1_GiB, {.name = "scratch"});
  const auto advice = [&](std::size_t bytes) {
    return std::string(thrown<TapeFull>([&] { (void)tape.take(bytes); }).advice());
  };
  EXPECT_NE(advice(1), advice(2_GiB));
}

TEST_F(DeviceTapeTest, ItsNameIsInTheErrorsOfItsMemory) {
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { (void)DeviceTape::start(device_, 0, {.name = "cache"}); },
           [&] { (void)DeviceTape::reserve(pool_, 0, {.name = "cache"}); }}) {
    const auto refused = thrown<InvalidArgument>(call);
    EXPECT_EQ(refused.argument(), "bytes");
    EXPECT_TRUE(refused.message().starts_with("tape cache on ")) << refused.what();
  }
}

TEST(DeviceBlock, WithoutMemoryRefusesWhatNeedsSome) {
  DeviceBlock block;
  block.commit(0);
  EXPECT_EQ(block.decommit(0), 0U);
  for (const auto& call : std::vector<std::function<void()>>{[&] { block.commit(1); },
                                                             [&] { (void)block.part(0, 1); }}) {
    EXPECT_EQ(thrown<WrongState>(call).state(), ObjectState::empty);
  }
}

TEST_F(DeviceTapeTest, ASealedTapeRefusesToGrowAndToShrinkAndStaysUsable) {
  DeviceTape tape = DeviceTape::reserve(pool_, 1_MiB, {.name = "captured"});
  tape.prepare(2 * kDevicePage);
  tape.seal();
  EXPECT_NE(tape.try_take(2 * kDevicePage), nullptr);
  EXPECT_EQ(tape.try_take(1), nullptr);
  tape.clear();
  tape.prepare(2 * kDevicePage);  // already there
  for (const auto& refused : {thrown<WrongState>([&] { tape.prepare(2 * kDevicePage + 1); }),
                              thrown<WrongState>([&] { (void)tape.decommit(); })}) {
    EXPECT_EQ(refused.object(), "tape captured");
    EXPECT_EQ(refused.state(), ObjectState::sealed);
  }
  EXPECT_FALSE(tape.try_prepare(2 * kDevicePage + 1));
  EXPECT_EQ(tape.committed(), 2 * kDevicePage);
}

TEST_F(DeviceTapeTest, PagesGivenBackServeAnotherTapeAndOnlyThePoolReleasesThem) {
  DeviceTape tape = DeviceTape::reserve(pool_, 4_MiB);
  DeviceTape other = DeviceTape::reserve(pool_, 4_MiB);
  tape.prepare(10 * kDevicePage);
  (void)tape.take(kDevicePage + 1);
  EXPECT_EQ(tape.decommit(), 8 * kDevicePage);
  EXPECT_EQ(tape.committed(), 2 * kDevicePage);
  EXPECT_EQ(pool_.free_bytes(), 8 * kDevicePage);
  other.prepare(8 * kDevicePage);
  EXPECT_EQ(pool_.held_bytes(), 10 * kDevicePage);  // no page was created
  EXPECT_EQ(other.decommit(), 8 * kDevicePage);
  EXPECT_EQ(device_.memory().free, 64_MiB - 10 * kDevicePage);
  EXPECT_EQ(pool_.trim(), 8 * kDevicePage);
  EXPECT_EQ(device_.memory().free, 64_MiB - 2 * kDevicePage);
}

TEST_F(DeviceTapeTest, DecommitWaitsForItsEvent) {
  DeviceTape tape = DeviceTape::reserve(pool_, 4_MiB);
  tape.prepare(4_MiB);
  const DeviceStream stream(device_);
  DeviceEvent read(device_);
  std::vector<std::byte> copy(4_MiB);
  const StreamHeldUntilWaitedFor held(stream.handle());
  device_.fill(tape.data(), std::byte{7}, 4_MiB, stream.handle());
  device_.copy(copy.data(), tape.data(), 4_MiB, stream.handle());
  read.record(stream.handle());
  EXPECT_EQ(tape.decommit(read.handle()), 4_MiB);
  EXPECT_TRUE(read.fired());
  EXPECT_TRUE(all_bytes_are(copy.data(), copy.size(), 7));
}

TEST_F(DeviceTapeTest, ADeviceThatIsFullRefusesAndNothingChanges) {
  DeviceTape tape = DeviceTape::reserve(pool_, 128_MiB, {.name = "large"});
  tape.prepare(1_MiB);
  const DeviceBlock other = DeviceBlock::allocate(device_, 32_MiB);
  const auto error = thrown<DeviceOutOfMemory>([&] { tape.prepare(64_MiB); });
  EXPECT_EQ(error.device(), "simulated device 0");
  EXPECT_EQ(error.bytes(), kDevicePage);
  EXPECT_EQ(tape.committed(), 1_MiB);
  EXPECT_EQ(pool_.held_bytes() - pool_.free_bytes(), 1_MiB);
  EXPECT_EQ(pool_.trim(), 31_MiB);  // pages created before the failure are kept
  // More than the whole device has is refused before a page is created.
  EXPECT_EQ(thrown<DeviceOutOfMemory>([&] { tape.prepare(65_MiB); }).bytes(), 65_MiB);
  EXPECT_EQ(pool_.free_bytes(), 0U);
}

TEST_F(DeviceTapeTest, HooksHearOfRangesAsTheyComeAndGo) {
  std::vector<std::pair<std::ptrdiff_t, std::size_t>> came;
  std::vector<std::pair<std::ptrdiff_t, std::size_t>> went;
  const std::byte* base = nullptr;
  {
    DeviceTape tape =
        DeviceTape::reserve(pool_, 4_MiB,
                            {.block = {.on_commit =
                                           [&](std::span<std::byte> range) {
                                             if (base == nullptr) base = range.data();
                                             came.emplace_back(range.data() - base, range.size());
                                           },
                                       .on_decommit =
                                           [&](std::span<std::byte> range) {
                                             went.emplace_back(range.data() - base, range.size());
                                           }}});
    tape.prepare(3 * kDevicePage);
    tape.prepare(4 * kDevicePage);
    EXPECT_THAT(
        came, ::testing::ElementsAre(Pair(0, 3 * kDevicePage), Pair(3 * kDevicePage, kDevicePage)));
    (void)tape.take(kDevicePage);
    (void)tape.decommit();
    EXPECT_THAT(went, ::testing::ElementsAre(Pair(3 * kDevicePage, kDevicePage),
                                             Pair(kDevicePage, 2 * kDevicePage)));
    went.clear();
  }
  EXPECT_THAT(went, ::testing::ElementsAre(Pair(0, kDevicePage)));
}

TEST_F(DeviceTapeTest, PlannedMemoryInFrontIsCountedAsItIsCommitted) {
  DeviceBlock whole = DeviceBlock::reserve(pool_, 4 * kDevicePage);
  DeviceBlock planned = whole.part(0, kDevicePage);
  DeviceTape tape =
      DeviceTape::behind({whole.data(), kDevicePage}, whole.part(kDevicePage, 3 * kDevicePage));
  EXPECT_EQ(tape.used(), kDevicePage);
  EXPECT_EQ(tape.committed(), 0U);
  planned.commit(kDevicePage);
  tape.note_planned(kDevicePage, true);
  EXPECT_EQ(tape.committed(), kDevicePage);
  EXPECT_EQ(tape.stat().grows, 1U);
  tape.prepare(100);
  EXPECT_EQ(tape.take(100), whole.data() + kDevicePage);
  EXPECT_THROW((void)DeviceTape::behind({whole.data(), 0}, whole.part(kDevicePage, kDevicePage)),
               InvalidArgument);
}

TEST_F(DeviceTapeTest, NonsenseIsRefused) {
  DeviceBlock block = DeviceBlock::reserve(pool_, 2 * kDevicePage);
  const std::vector<std::pair<std::function<void()>, std::string>> rows = {
      {[&] { (void)DeviceTape::start(device_, 0); }, "bytes"},
      {[&] { (void)DeviceTape::start(device_, SIZE_MAX); }, "bytes"},
      {[&] { (void)DeviceTape::reserve(pool_, 0); }, "bytes"},
      {[&] { (void)DeviceTape::reserve(pool_, SIZE_MAX); }, "bytes"},
      {[&] { (void)DeviceTape::over(DeviceBlock::borrow(device_, {})); }, "block"},
      {[&] { PagePool(device_, kDevicePage + 1); }, "page_bytes"},
      {[&] { PagePool(device_, 3 * kDevicePage); }, "page_bytes"},
      {[&] { (void)block.part(1, kDevicePage); }, "offset"},
      {[&] { (void)block.part(kDevicePage, 2 * kDevicePage); }, "offset"},
      {[&] { block.commit(2 * kDevicePage + 1); }, "bytes"}};
  for (const auto& [call, argument] : rows) {
    EXPECT_EQ(thrown<InvalidArgument>(call).argument(), argument);
  }
  EXPECT_THROW((void)DeviceTape::start(device_, 65_MiB), DeviceOutOfMemory);
  EXPECT_EQ(device_.memory().free, 64_MiB);
}

}  // namespace
}  // namespace tapedeck::tests
