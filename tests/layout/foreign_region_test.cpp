// No region answers with other bytes: what a layout's own plan does not have is refused.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

class ForeignRegion : public testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path file = shared_data("gguf/stories260K-F16.gguf");
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
    plan_ = make_plan(read_model(file), {.total_context = 128});
  }

  Plan plan_;
};

// A device whose histories grow lays them out anew: the offsets of the host's plan are not its own.
TEST_F(ForeignRegion, OfTheHostIsRefusedByADeviceThatAlignsAnew) {
  HostDevice device;
  Layout layout(plan_, {.commit = Commit::nothing,
                        .gpus = {{.device = &device, .options = {.commit = Commit::with_talks}}}});
  DeviceLayout& gpu = layout.gpu(0);
  std::size_t moved = 0;
  for (const Region& region : plan_.history.regions()) {
    const Region& own = gpu.plan().history.at(region.name);
    EXPECT_EQ(gpu.history_at(own).data(), gpu.history().data() + own.offset);
    if (own.offset == region.offset) continue;
    ++moved;
    const auto error = thrown<InvalidArgument>([&] { static_cast<void>(gpu.history_at(region)); });
    EXPECT_EQ(error.argument(), "region");
  }
  EXPECT_GT(moved, 0U);
  const Region& weight = plan_.weights.regions().back();
  EXPECT_EQ(gpu.weights_at(weight).data(), gpu.weights().data() + weight.offset);
}

TEST_F(ForeignRegion, IsOneOfAnotherTape) {
  Layout layout(plan_, {.commit = Commit::nothing});
  const Region& weight = plan_.weights.regions()[0];
  const Region& buffer = plan_.scratch.regions()[0];
  const Region& cache = plan_.history.regions()[0];
  EXPECT_THROW(static_cast<void>(layout.history_at(weight)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(layout.scratch_at(cache)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(layout.weights_at(buffer)), InvalidArgument);
  EXPECT_THROW(static_cast<void>(layout.history_at(Region{.name = cache.name})), InvalidArgument);
}

TEST_F(ForeignRegion, IsOneOfAnotherPlan) {
  Layout layout(plan_, {.commit = Commit::nothing});
  const Plan longer =
      make_plan(read_model(shared_data("gguf/stories260K-F16.gguf")), {.total_context = 512});
  for (const Region& region : longer.history.regions()) {
    EXPECT_THROW(static_cast<void>(layout.history_at(region)), InvalidArgument) << region.name;
  }
  // The same model planned again is the same plan.
  const Plan again =
      make_plan(read_model(shared_data("gguf/stories260K-F16.gguf")), {.total_context = 128});
  for (const Region& region : again.history.regions()) {
    EXPECT_EQ(layout.history_at(region).data(), layout.history().data() + region.offset);
  }
}

// The default cache is of f16: as many floats would reach beyond its end.
TEST_F(ForeignRegion, IsOneAskedForAsAnotherType) {
  Layout layout(plan_, {.commit = Commit::nothing});
  const Region& cache = plan_.history.regions()[0];
  ASSERT_EQ(cache.dtype, DType::f16);
  const auto error =
      thrown<InvalidArgument>([&] { static_cast<void>(layout.history_at<float>(cache)); });
  EXPECT_EQ(error.value(), 4U);
  EXPECT_EQ(error.limit(), 2U);
  EXPECT_THROW(static_cast<void>(layout.history_at<std::int16_t>(cache)), InvalidArgument);
  EXPECT_EQ(layout.history_at<std::uint16_t>(cache).size(), cache.bytes / 2);
  EXPECT_EQ(layout.history_at(cache).size(), cache.bytes);
  EXPECT_EQ(layout.history_at<unsigned char>(cache).size(), cache.bytes);
}

// A caller's mistake in a member of his copy does not move an address.
TEST_F(ForeignRegion, ACopyWithAnotherOffsetStillMeansThePlannedPlace) {
  Layout layout(plan_, {.commit = Commit::nothing});
  Region moved = plan_.history.regions()[1];
  moved.offset += 64;
  EXPECT_EQ(layout.history_at(moved).data(),
            layout.history().data() + plan_.history.regions()[1].offset);
}

}  // namespace
}  // namespace tapedeck::tests
