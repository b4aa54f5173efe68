// SPDX-License-Identifier: Apache-2.0
// Layouts leave nothing behind on a GPU.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

#include "layout/cache_region.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::uint64_t kRow = 16_KiB;
constexpr std::uint64_t kLifeContext = 1024;

Plan small_plan() {
  Plan plan = keys_and_values(2, kLifeContext, kRow);
  plan.weights.append({.name = "embedding", .bytes = 4_MiB});
  plan.scratch.append({.name = "decode.logits", .role = RegionRole::decode, .bytes = 1_MiB});
  return plan;
}

// The whole life of a layout: it grows, decodes, is cleared, and its pages move to another talk.
void live_once(Device& device) {
  Layout layout(
      small_plan(),
      {.commit = Commit::nothing,
       .gpus = {{.device = &device, .options = {.commit = Commit::with_talks, .frames = 2}}}});
  DeviceLayout& gpu = layout.gpu(0);
  const DeviceStream stream(device);
  DeviceEvent done(device);
  for (std::size_t talk = 0; talk < gpu.talks(); ++talk) {
    gpu.talk(talk).prepare(kLifeContext / 2);
    static_cast<void>(gpu.talk(talk).advance(kLifeContext / 2));
    std::byte* const keys = gpu.history_at(gpu.plan().history.regions()[0], talk).data();
    device.fill(keys, std::byte{1}, kLifeContext / 2 * kRow, stream.handle());
    done.record(stream.handle());
    done.synchronize();
    layout.clear_talk(talk);
  }
  gpu.talk(0).prepare(kLifeContext);
  static_cast<void>(gpu.decommit(done.handle()));
}

TEST(LayoutOnGpu, AThousandLivesLeaveAsMuchFreeAsTheFirst) {
  CudaDevice device;
  live_once(device);
  const std::size_t free = device.memory().free;
  for (int life = 2; life <= 1000; ++life) live_once(device);
  EXPECT_GE(device.memory().free, free);
}

}  // namespace
}  // namespace tapedeck::tests
