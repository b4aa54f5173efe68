/// @file
/// The kinds of side that layouts have, for tests of what all of them do alike.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {

/// What a side is asked for.
struct SideAsked {
  Commit commit = Commit::with_talks;
  std::uint64_t growth_step = 1;
  std::size_t history_budget = 0;
  LayoutSizes extra{};
};

struct HostSide {
  using Handle = Talk;
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kTapeLine = 64;

  explicit HostSide(Plan plan, const SideAsked& asked = {}, std::size_t /*memory*/ = 0)
      : layout(std::move(plan), options(asked)) {}
  static LayoutOptions options(const SideAsked& asked) {
    LayoutOptions options{.commit = asked.commit,
                          .growth_step = asked.growth_step,
                          .extra = asked.extra,
                          .history_budget = asked.history_budget};
    options.history.block.huge_pages = HugePages::never;
    return options;
  }

  Layout layout;
};

struct HostDeviceSide {
  using Handle = DeviceTalk;
  static constexpr std::size_t kPage = kDevicePage;
  static constexpr std::size_t kTapeLine = 256;

  explicit HostDeviceSide(Plan plan, const SideAsked& asked = {}, std::size_t memory = 256_MiB)
      : device({.memory = memory, .granularity = kDevicePage}),
        layout(device, std::move(plan),
               {.commit = asked.commit,
                .growth_step = asked.growth_step,
                .extra = asked.extra,
                .history_budget = asked.history_budget}) {}

  HostDevice device;
  DeviceLayout layout;
};

using SideKinds = ::testing::Types<HostSide, HostDeviceSide>;

inline constexpr Commit kCommits[] = {Commit::at_creation, Commit::with_talks, Commit::nothing};

}  // namespace tapedeck::tests
