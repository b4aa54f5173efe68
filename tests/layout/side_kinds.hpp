// SPDX-License-Identifier: Apache-2.0
/// @file
/// The kinds of `Side` that layouts have, for tests of their common behavior.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"

#ifdef TAPEDECK_WITH_STAND_IN
#include "device/stand_in_device.hpp"
#endif

namespace tapedeck::tests {

/// What a side is created from.
struct SideAsked {
  Commit commit = Commit::with_talks;
  std::uint64_t growth_step = 1;
  std::size_t history_budget = 0;
  LayoutSizes extra{};
  bool wipe_on_clear = false;
  std::uint64_t ahead = 0;
};

/// Whether histories of the host are committed by parts, as all of them are under ASan.
template <bool kInParts>
struct AnyHostSide {
  using Handle = Talk;
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kTapeLine = 64;
  static constexpr bool kOnDevice = false;

  explicit AnyHostSide(Plan plan, const SideAsked& asked = {}, std::size_t /*memory*/ = 0)
      : layout(std::move(plan), options(asked)) {}
  static LayoutOptions options(const SideAsked& asked) {
    LayoutOptions options{.commit = asked.commit,
                          .growth_step = asked.growth_step,
                          .extra = asked.extra,
                          .history_budget = asked.history_budget,
                          .ahead = asked.ahead,
                          .guard_unprepared = kInParts};
    options.history.block.huge_pages = HugePages::never;
    options.history.wipe_on_clear = options.scratch.wipe_on_clear = asked.wipe_on_clear;
    return options;
  }

  Layout layout;
};
using HostSide = AnyHostSide<false>;
using HostSideInParts = AnyHostSide<true>;

/// On a device of `Card`. In the end nothing of it may be allocated.
template <class Card>
struct DeviceSide {
  using Handle = DeviceTalk;
  static constexpr std::size_t kPage = kDevicePage;
  static constexpr std::size_t kTapeLine = 256;
  static constexpr bool kOnDevice = true;

  explicit DeviceSide(Plan plan, const SideAsked& asked = {}, std::size_t memory = 256_MiB)
      : card(memory),
        layout(*card.device, std::move(plan),
               {.commit = asked.commit,
                .growth_step = asked.growth_step,
                .ahead = asked.ahead,
                .extra = asked.extra,
                .history_budget = asked.history_budget,
                .wipe_on_clear = asked.wipe_on_clear}) {}

  Card card;
  DeviceLayout layout;
};

struct HostCard {
  explicit HostCard(std::size_t memory)
      : device(std::in_place, HostDeviceOptions{.memory = memory, .granularity = kDevicePage}) {}
  ~HostCard() { EXPECT_EQ(device->memory().free, device->memory().total); }
  std::optional<HostDevice> device;
};
using HostDeviceSide = DeviceSide<HostCard>;

#ifdef TAPEDECK_WITH_STAND_IN

/// On a CUDA device of the stand-in driver, which reports every violation of CUDA's rules.
struct StandInCard {
  explicit StandInCard(std::size_t memory) {
    stand_in::reset({.memory = memory, .granularity = kDevicePage, .host_visible = true});
    device.emplace();
  }
  ~StandInCard() {
    device.reset();
    expect_all_given_back();
  }
  std::optional<CudaDevice> device;
};
using SideKinds =
    ::testing::Types<HostSide, HostSideInParts, HostDeviceSide, DeviceSide<StandInCard>>;

#else

using SideKinds = ::testing::Types<HostSide, HostSideInParts, HostDeviceSide>;

#endif

inline constexpr Commit kCommits[] = {Commit::at_creation, Commit::with_talks, Commit::nothing};

}  // namespace tapedeck::tests
