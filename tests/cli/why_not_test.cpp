// SPDX-License-Identifier: Apache-2.0
#include "cli/why_not.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace {

using cli::why_not;

// Regression: the CPU took over where a budget was too small, but not where the device was full.
TEST(WhyNot, IsAnyLackOfMemoryAndAMissingDevice) {
  HostDevice device({.memory = 4_MiB});
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const std::vector<std::function<void()>> lacks = {
      [&] { (void)device.allocate(1_GiB); }, [&] { (void)layout.scratch().take(1_GiB); },
      [] { throw OutOfMemory({.purpose = "layer streaming", .needed = 2, .available = 1}); },
      [] { throw DeviceUnavailable("CUDA driver", "there is no driver", "install it"); }};
  for (const auto& lack : lacks) EXPECT_NE(why_not(lack), "");
  EXPECT_EQ(why_not([] {}), "");
}

TEST(WhyNot, IsNoOtherError) {
  HostDevice device({.memory = 4_MiB});
  EXPECT_THROW((void)why_not([&] { (void)device.allocate(0); }), DeviceError);
  EXPECT_THROW((void)why_not([] { throw Unsupported("f16", "the model has no f16"); }),
               Unsupported);
  EXPECT_THROW((void)why_not([] { throw FormatError({.path = "m"}, "it is broken"); }),
               FormatError);
}

}  // namespace
}  // namespace tapedeck::tests
