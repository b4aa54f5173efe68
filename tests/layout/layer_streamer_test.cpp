// SPDX-License-Identifier: Apache-2.0
// Layers that take turns in slots, on a device of host memory.

#include "tapedeck/layout/layer_streamer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "device/held_stream.hpp"
#include "layout/made_layers.hpp"
#include "os/child.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace {

class LayerStreamerTest : public testing::TestWithParam<StreamSource> {
 protected:
  // Work that is put on the stream now must find the layer, or only these experts of it.
  void expect_layer(const MadeLayers& made, std::size_t layer, const std::byte* at,
                    std::span<const std::uint32_t> experts = {}) {
    stream_.synchronize();
    EXPECT_TRUE(made.is_at(layer, at, experts)) << layer;
  }
  // Runs a pass over all layers, and checks each.
  void pass(StreamedOnDevice& on, const MadeLayers& made, bool prefetch = true) {
    for (std::size_t layer = 0; layer < made.plan().layers.size(); ++layer) {
      const std::byte* const at = on.streamer.acquire(layer, stream_.handle());
      if (prefetch) on.streamer.prefetch(on.streamer.next_streamed(layer));
      expect_layer(made, layer, at);
      on.streamer.release(layer, stream_.handle());
    }
  }

  HostDevice device_{{.memory = 64_MiB, .granularity = 64_KiB}};
  DeviceStream stream_{device_};
};

INSTANTIATE_TEST_SUITE_P(Sources, LayerStreamerTest,
                         testing::Values(StreamSource::automatic, StreamSource::pin,
                                         StreamSource::pinned, StreamSource::staged));

TEST_P(LayerStreamerTest, EveryLayerIsWhereItIsSaidToBe) {
  for (const std::uint64_t slots : {1U, 2U, 3U, 7U}) {
    for (const std::size_t resident : {0U, 1U, 5U, 6U}) {
      const MadeLayers made({.slots = slots, .resident = resident});
      StreamedOnDevice on(device_, made, {.source = GetParam()});
      EXPECT_TRUE(made.outer_is_at(on.place.data()));
      for (int token = 0; token < 3; ++token) pass(on, made);
      EXPECT_EQ(on.streamer.staged(), GetParam() == StreamSource::staged);
    }
  }
}

// The child has no thread that would stage or copy anything.
TEST_P(LayerStreamerTest, EndsInAForkedChild) {
  const MadeLayers made({});
  auto on =
      std::make_unique<StreamedOnDevice>(device_, made, LayerStreamerOptions{.source = GetParam()});
  static_cast<void>(on->streamer.acquire(0, stream_.handle()));
  on->streamer.release(0, stream_.handle());
  in_child([&] { on.reset(); });
  pass(*on, made);
}

TEST_P(LayerStreamerTest, TensorsOfNoLayerAreFoundByTheirPlace) {
  const MadeLayers made({});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  const StreamingPlan& plan = made.plan();
  ASSERT_FALSE(plan.outer.empty());
  for (std::size_t i = 0; i < plan.outer.size(); ++i) {
    EXPECT_EQ(on.streamer.outer(plan.outer[i]), on.place.data() + plan.device.regions()[i].offset);
  }
  const std::uint32_t of_a_layer = plan.layers[0].parts[0].tensor;
  EXPECT_THROW(static_cast<void>(on.streamer.outer(of_a_layer)), InvalidArgument);
}

TEST_P(LayerStreamerTest, WhatStaysIsCopiedOnceAndTheRestEveryTime) {
  const MadeLayers made({.resident = 4});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  EXPECT_EQ(on.streamer.stat().copies, 0U);
  for (int token = 0; token < 10; ++token) pass(on, made);
  // Two layers in two slots: each is copied once and then stays.
  EXPECT_EQ(on.streamer.stat().copies, 2U);
  const MadeLayers more({.resident = 3});
  StreamedOnDevice three(device_, more, {.source = GetParam()});
  for (int token = 0; token < 10; ++token) pass(three, more);
  // The first layer of the next token is already being copied.
  EXPECT_EQ(three.streamer.stat().copies, 31U);
  EXPECT_EQ(three.streamer.stat().late, 0U);
  EXPECT_EQ(three.streamer.stat().in_time, 30U);
}

TEST_P(LayerStreamerTest, ALayerThatLiesInOnePieceIsOneCopy) {
  const MadeLayers made({.parts = 9});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  pass(on, made, false);
  EXPECT_EQ(on.streamer.stat().copies, 6U);
  EXPECT_EQ(on.streamer.stat().copy_calls, 6U);
  const MadeLayers apart({.parts = 9, .part_bytes = 100, .gap = 4096});
  StreamedOnDevice in_pieces(device_, apart, {.source = GetParam()});
  pass(in_pieces, apart, false);
  EXPECT_EQ(in_pieces.streamer.stat().copy_calls, 6U * 9);
}

TEST_P(LayerStreamerTest, AskedForTwiceItIsCopiedOnce) {
  const MadeLayers made({});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  EXPECT_TRUE(on.streamer.prefetch(3));
  EXPECT_TRUE(on.streamer.prefetch(3));
  const DeviceStream other(device_);
  const std::byte* const at = on.streamer.acquire(3, stream_.handle());
  EXPECT_EQ(on.streamer.acquire(3, other.handle()), at);
  EXPECT_EQ(on.streamer.acquire(3, stream_.handle()), at);
  EXPECT_EQ(on.streamer.stat().copies, 1U);
  on.streamer.release(3, stream_.handle());
  on.streamer.release(3, other.handle());
  on.streamer.release(3, stream_.handle());
  EXPECT_THROW(on.streamer.release(3, stream_.handle()), WrongState);
}

TEST_P(LayerStreamerTest, NeverReleasedLayersAreAnErrorThatNamesThem) {
  const MadeLayers made({});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  static_cast<void>(on.streamer.acquire(1, stream_.handle()));
  static_cast<void>(on.streamer.acquire(4, stream_.handle()));
  EXPECT_FALSE(on.streamer.prefetch(2));
  const auto error =
      thrown<WrongState>([&] { static_cast<void>(on.streamer.acquire(2, stream_.handle())); });
  EXPECT_EQ(error.object(), "layer streamer");
  EXPECT_EQ(error.state(), ObjectState::in_use);
  EXPECT_EQ(error.message(), "layer 2 has no slot, because layers 1, 4 are acquired");
  on.streamer.release(1, stream_.handle());
  const std::byte* const held = on.streamer.acquire(4, stream_.handle());
  expect_layer(made, 4, held);
  const std::byte* const at = on.streamer.acquire(2, stream_.handle());
  expect_layer(made, 2, at);
}

TEST_P(LayerStreamerTest, WhatAwaitsItsTurnIsNotWrittenOver) {
  const MadeLayers made({});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  EXPECT_TRUE(on.streamer.prefetch(0));
  EXPECT_TRUE(on.streamer.prefetch(1));
  EXPECT_FALSE(on.streamer.prefetch(2));
  // But `acquire` has priority.
  const std::byte* const at = on.streamer.acquire(2, stream_.handle());
  expect_layer(made, 2, at);
  EXPECT_EQ(on.streamer.stat().late, 1U);
  EXPECT_TRUE(on.streamer.prefetch(1));
  EXPECT_EQ(on.streamer.stat().copies, 3U);
}

TEST_P(LayerStreamerTest, NonsenseIsRefused) {
  const MadeLayers made({.experts = 2});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  EXPECT_THROW(on.streamer.prefetch(6), InvalidArgument);
  EXPECT_THROW(static_cast<void>(on.streamer.acquire(6, nullptr)), InvalidArgument);
  EXPECT_THROW(on.streamer.release(6, nullptr), InvalidArgument);
  EXPECT_THROW(on.streamer.release(5, nullptr), WrongState);
  const std::array<std::uint32_t, 2> experts = {1, 2};
  EXPECT_THROW(on.streamer.prefetch(0, experts), InvalidArgument);
  EXPECT_THROW(static_cast<void>(on.streamer.acquire(0, nullptr, experts)), InvalidArgument);
  EXPECT_EQ(on.streamer.stat().copies, 0U);
}

TEST_P(LayerStreamerTest, ExpertsComeWhenTheyAreNamed) {
  const MadeLayers made({.experts = 8});
  StreamedOnDevice on(device_, made, {.source = GetParam()});
  const Region& slot = made.plan().device.regions().last(made.plan().slots)[0];
  device_.fill(on.place.data() + slot.offset, std::byte{0}, 2 * slot.bytes, stream_.handle());
  stream_.synchronize();
  const std::array<std::uint32_t, 2> first = {5, 1};
  const std::array<std::uint32_t, 2> second = {1, 7};
  const std::byte* const at = on.streamer.acquire(2, stream_.handle(), first);
  expect_layer(made, 2, at, first);
  EXPECT_FALSE(made.is_at(2, at));
  const std::uint64_t bytes = on.streamer.stat().copied_bytes;
  EXPECT_TRUE(on.streamer.prefetch(2, first));
  EXPECT_EQ(on.streamer.stat().copied_bytes, bytes);
  EXPECT_EQ(on.streamer.acquire(2, stream_.handle(), second), at);
  EXPECT_GT(on.streamer.stat().copied_bytes, bytes);
  expect_layer(made, 2, at, second);
  EXPECT_TRUE(made.is_at(2, at, first));
  on.streamer.release(2, stream_.handle());
  EXPECT_EQ(on.streamer.acquire(2, stream_.handle()), at);
  expect_layer(made, 2, at);
}

TEST_P(LayerStreamerTest, ThePlanHasToFitTheWeights) {
  const MadeLayers made({.resident = 2});
  DeviceTape tape = DeviceTape::start(device_, made.plan().device.bytes());
  const DeviceSpan<std::byte> place = tape.take<std::byte>(made.plan().device.bytes());
  const auto refused = [&](const char* argument, std::optional<std::uint64_t> value,
                           const auto& change) {
    StreamingPlan plan = made.plan();
    DeviceSpan<std::byte> where = place;
    auto tensors = made.tensors();
    change(plan, where, tensors);
    const auto error = thrown<InvalidArgument>([&] {
      const LayerStreamer streamer(device_, plan, where, made.directory(), tensors,
                                   {.source = GetParam()});
    });
    EXPECT_EQ(error.argument(), argument);
    EXPECT_EQ(error.value(), value);
  };
  const char* const parts = "StreamedLayer::parts";
  refused("place", place.size() - 1,
          [](auto&, auto& where, auto&) { where = where.subspan(0, where.size() - 1); });
  refused("place", 1, [](auto&, auto& where, auto&) {
    where = DeviceSpan<std::byte>(where.data() + 1, where.size());
  });
  refused("tensors", made.tensors().size() - 1,
          [](auto&, auto&, auto& tensors) { tensors.pop_back(); });
  refused(parts, 3, [](auto& plan, auto&, auto&) { plan.layers[3].parts[0].tensor = 1000; });
  refused(parts, 3, [](auto& plan, auto&, auto&) { ++plan.layers[3].parts[1].from; });
  refused(parts, 3, [](auto& plan, auto&, auto&) { plan.layers[3].parts[0].offset = ~0ULL; });
  refused(parts, 3, [](auto& plan, auto&, auto&) { plan.layers[3].parts[0].expert = 1000; });
  refused("StreamedLayer::bytes", 1_GiB,
          [](auto& plan, auto&, auto&) { plan.layers[3].bytes = 1_GiB; });
  refused("StreamingPlan::layers", 2, [](auto& plan, auto&, auto&) { plan.slots = 0; });
  refused("StreamingPlan::layers", 0,
          [](auto& plan, auto&, auto&) { plan.layers[0].resident = 99; });
  refused("StreamingPlan::outer", 1000, [](auto& plan, auto&, auto&) { plan.outer[0] = 1000; });
  const std::size_t regions = made.plan().device.regions().size();
  refused("StreamingPlan::device", regions, [](auto& plan, auto&, auto&) { ++plan.slots; });
  refused("StreamingPlan::device", regions,
          [&](auto& plan, auto&, auto&) { plan.outer.resize(regions + 1); });
}

// The copy into a slot begins only after the work with its old layer has run, and work with the new
// layer begins only after the copy has run. The host waits for neither.
TEST(LayerStreamerOrder, StreamsWaitAndTheHostDoesNot) {
  HostDevice device({.memory = 64_MiB, .granularity = 64_KiB});
  const DeviceStream stream(device);
  const MadeLayers made({});
  StreamedOnDevice on(device, made, {.source = StreamSource::pin});
  const std::byte* const at = on.streamer.acquire(0, stream.handle());
  stream.synchronize();
  {
    const HeldStream held(stream.handle());
    on.streamer.release(0, stream.handle());
    static_cast<void>(on.streamer.acquire(1, stream.handle()));
    on.streamer.release(1, stream.handle());
    EXPECT_TRUE(on.streamer.prefetch(2));  // into the slot that is still in use
    EXPECT_TRUE(made.is_at(0, at));
  }
  EXPECT_EQ(on.streamer.acquire(2, stream.handle()), at);
  stream.synchronize();
  EXPECT_TRUE(made.is_at(2, at));
}

// A device that refuses to pin memory, always or after some.
class UnpinnableDevice : public HostDevice {
 public:
  explicit UnpinnableDevice(std::size_t pins) : pins_(pins) {}
  ~UnpinnableDevice() override { EXPECT_EQ(pinned_, 0U); }

  void pin_read_only(std::span<const std::byte> memory) override {
    if (pins_ == 0) {
      throw DeviceError({.device = "host 0", .call = "pin", .number = 2, .name = "OUT_OF_PINS"});
    }
    --pins_;
    ++pinned_;
    HostDevice::pin_read_only(memory);
  }
  void unpin(const std::byte* at) noexcept override {
    --pinned_;
    HostDevice::unpin(at);
  }

 private:
  std::size_t pins_;
  std::size_t pinned_ = 0;
};

TEST(LayerStreamerPinning, WhatCannotBePinnedIsStagedOrRefused) {
  const MadeLayers made({.part_bytes = 20'000, .gap = 64_KiB});  // in different pages
  for (const std::size_t pins : {0U, 1U, 5U}) {
    UnpinnableDevice device(pins);
    StreamedOnDevice on(device, made);
    EXPECT_TRUE(on.streamer.staged());
    EXPECT_EQ(on.streamer.why_staged(), "host 0: pin failed: OUT_OF_PINS");
    const std::byte* const at = on.streamer.acquire(3, nullptr);
    device.synchronize(nullptr);
    EXPECT_TRUE(made.is_at(3, at));
    EXPECT_THROW(StreamedOnDevice(device, made, {.source = StreamSource::pin}), DeviceError);
  }
  UnpinnableDevice device(1000);
  EXPECT_FALSE(StreamedOnDevice(device, made).streamer.staged());
  // The limit for pinned memory is respected, too.
  const StreamedOnDevice on(device, made, {.pin_at_most = 8_KiB});
  EXPECT_TRUE(on.streamer.staged());
  EXPECT_NE(on.streamer.why_staged(), "");
  const auto refused = thrown<InvalidArgument>(
      [&] { StreamedOnDevice(device, made, {.source = StreamSource::pin, .pin_at_most = 8_KiB}); });
  EXPECT_EQ(refused.argument(), "LayerStreamerOptions::pin_at_most");
  EXPECT_GT(refused.value(), 8_KiB);
  EXPECT_EQ(refused.limit(), 8_KiB);
}

// A device whose k-th copy fails.
class FailingDevice : public HostDevice {
 public:
  void fail_copy(std::size_t k) { left_ = k; }
  void copy(std::byte* to, const std::byte* from, std::size_t bytes, StreamHandle stream) override {
    if (left_ != 0 && --left_ == 0) {
      throw DeviceError({.device = "host 0", .call = "copy", .number = 719, .name = "BROKEN"});
    }
    HostDevice::copy(to, from, bytes, stream);
  }

 private:
  std::atomic<std::size_t> left_ = 0;
};

TEST_P(LayerStreamerTest, ACopyThatFailsIsToldAndMayBeAskedForAgain) {
  const MadeLayers made({.experts = 2, .gap = 4096});
  FailingDevice device;
  const DeviceStream stream(device);
  StreamedOnDevice on(device, made, {.source = GetParam()});
  const std::array<std::uint32_t, 1> one = {1};
  for (std::size_t k = 1; k < 100; ++k) {
    SCOPED_TRACE(k);
    device.fail_copy(k);
    std::size_t failed = 0;
    for (std::size_t layer = 0; layer < 6; ++layer) {
      for (;;) {
        try {
          const std::byte* const at = on.streamer.acquire(layer, stream.handle(), one);
          static_cast<void>(on.streamer.acquire(layer, stream.handle()));
          stream.synchronize();
          EXPECT_TRUE(made.is_at(layer, at));
          break;
        } catch (const DeviceError& error) {
          EXPECT_EQ(error.name(), "BROKEN");
          ++failed;
        }
      }
      // once, or twice if only the rest failed
      try {
        for (;;) on.streamer.release(layer, stream.handle());
      } catch (const WrongState&) {
      }
    }
    if (failed == 0) return;
    EXPECT_EQ(failed, 1U);
  }
  FAIL() << "the sweep did not end after a hundred copies";
}

TEST(LayerStreamerFiles, AFileThatWasMadeShorterIsAnErrorWithItsPlace) {
  const TempFolder folder;
  const std::size_t page = kPage;
  const std::size_t bytes = 64 * page;
  const std::filesystem::path path = folder.write("weights.bin", std::string(bytes, 'x'));
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  auto* const at = static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0));
  StreamingPlan plan;
  internal::TensorDirectoryBuilder builder;
  builder.begin_file({.path = path, .size = bytes, .data_end = bytes});
  std::vector<std::span<const std::byte>> tensors;
  for (std::uint32_t layer = 0; layer < 4; ++layer) {
    const std::string name = std::to_string(layer);
    const std::size_t begin = std::size_t{layer} * 16 * page;
    builder.add({.name = name, .dtype = DType::u8, .offset = begin, .bytes = 16 * page}, 0);
    tensors.emplace_back(at + begin, 16 * page);
    plan.layers.push_back({.parts = {{.tensor = layer, .bytes = 16 * page}}, .bytes = 16 * page});
  }
  plan.slots = 2;
  for (const char* name : {"slot.0", "slot.1"}) {
    plan.device.append({.name = name, .bytes = 16 * page, .alignment = 256});
  }
  plan.staging.append({.name = "staging.0", .bytes = 3 * page});
  HostDevice device;
  DeviceTape tape = DeviceTape::start(device, plan.device.bytes());
  const DeviceSpan<std::byte> place = tape.take<std::byte>(plan.device.bytes());
  LayerStreamer streamer(device, plan, place, std::move(builder).finish(), tensors,
                         {.source = StreamSource::staged});
  static_cast<void>(streamer.acquire(0, nullptr));
  streamer.release(0, nullptr);
  ASSERT_EQ(::ftruncate(file, static_cast<off_t>(40 * page)), 0);
  EXPECT_TRUE(streamer.prefetch(2));
  static_cast<void>(streamer.acquire(1, nullptr));
  for (int time = 0; time < 3; ++time) {
    const auto error =
        thrown<FormatError>([&] { static_cast<void>(streamer.acquire(2, nullptr)); });
    EXPECT_EQ(error.path(), path.string());
    EXPECT_EQ(error.offset(), 40 * page);
    EXPECT_EQ(error.field(), "2");
    EXPECT_EQ(error.fault(), FormatFault::cut_off);
  }
  ASSERT_EQ(::ftruncate(file, static_cast<off_t>(bytes)), 0);
  static_cast<void>(streamer.acquire(2, nullptr));
  device.synchronize(nullptr);
  ::munmap(at, bytes);
  ::close(file);
}

}  // namespace
}  // namespace tapedeck::tests
