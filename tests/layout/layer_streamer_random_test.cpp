// SPDX-License-Identifier: Apache-2.0
// Slots are never torn: random steps over several streams, on a device that is slow, and that
// overwrites every slot with garbage before a copy, so that code that does not wait reads wrong
// data.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "device/held_stream.hpp"
#include "device/host_streams.hpp"
#include "layout/made_layers.hpp"
#include "os/self.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/host_device.hpp"

namespace tapedeck::tests {
namespace {

constexpr std::byte kSpoiled{0xDD};

// Rarely long enough for another thread to run, and often only a few steps. It does not yield,
// because each yield would cost a time slice on a busy machine.
void dawdle(std::uint64_t random) {
  if (random % 256 == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(random / 256 % 50));
  } else if (random % 4 == 0) {
    for (std::atomic<std::uint64_t> i = 0; i < random / 4 % 256; ++i) {
    }
  }
}

enum class Dropped : std::uint8_t { nothing, waits_for_release, waits_for_arrival };

class SpoilingDevice : public HostDevice {
 public:
  explicit SpoilingDevice(Dropped dropped) : dropped_(dropped) {}

  /// From now on copies into slots are slow, and overwrite the slots with garbage before they
  /// begin. They begin only after `go`.
  void begin(DeviceSpan<std::byte> slots, std::shared_future<void> go = {}) {
    slots_ = slots;
    go_ = std::move(go);
  }
  void computes_on(StreamHandle stream) { computing_.push_back(stream); }

  void copy(std::byte* to, const std::byte* from, std::size_t bytes, StreamHandle stream) override {
    if (to < slots_.data() || to >= slots_.data() + slots_.size()) {
      return HostDevice::copy(to, from, bytes, stream);
    }
    const std::uint64_t random = ++copies_ * 0x9E3779B97F4A7C15U >> 40U;
    reinterpret_cast<internal::HostStream*>(stream)->put([=, go = go_] {
      if (go.valid()) go.wait();
      std::fill_n(to, bytes, kSpoiled);
      dawdle(random);
      std::copy_n(from, bytes, to);
    });
  }
  void wait(StreamHandle stream, EventHandle event) override {
    const bool computes =
        std::find(computing_.begin(), computing_.end(), stream) != computing_.end();
    const Dropped kind = computes ? Dropped::waits_for_arrival : Dropped::waits_for_release;
    if (kind != dropped_) HostDevice::wait(stream, event);
  }

 private:
  Dropped dropped_;
  DeviceSpan<std::byte> slots_;
  std::shared_future<void> go_;
  std::vector<StreamHandle> computing_;
  std::uint64_t copies_ = 0;
};

constexpr std::size_t kLayers = 9;
constexpr std::size_t kResident = 2;
constexpr std::size_t kStreams = 3;

// What the oracle knows: which streams hold which layer. It does not know the slots, only their
// number.
class Life {
 public:
  Life(std::uint64_t seed, std::uint64_t slots, StreamSource source)
      : random_(seed),
        slots_(slots),
        made_({.layers = kLayers,
               .slots = slots,
               .resident = kResident,
               .experts = seed % 3 == 0 ? 3U : 0U,
               .part_bytes = 300,
               .gap = seed % 2 == 0 ? 16U : 4096U,
               .seed = seed}),
        device_(Dropped::nothing),
        on_(device_, made_, {.source = source}) {
    for (std::size_t i = 0; i < kStreams; ++i) {
      device_.computes_on(streams_.emplace_back(device_).handle());
    }
    const Region& slot = made_.plan().device.regions().last(made_.plan().slots)[0];
    device_.begin(on_.place.subspan(slot.offset, slots * slot.bytes));
  }
  ~Life() { device_.synchronize(); }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  void play(std::size_t steps) {
    for (std::size_t step = 0; step < steps; ++step) {
      const std::uint64_t kind = random_() % 10;
      if (kind < 3) {
        prefetch(random_() % kLayers);
      } else if (kind < 6) {
        acquire(random_() % kLayers);
      } else {
        release_any();
      }
      if (step % 1024 == 0) device_.synchronize();  // otherwise tasks pile up on the streams
      if (torn_ != 0 || ::testing::Test::HasFailure()) return;
    }
    while (!held_.empty()) release_any();
    device_.synchronize();
  }

  [[nodiscard]] std::uint64_t torn() {
    device_.synchronize();
    return torn_;
  }
  std::uint64_t acquired = 0;
  std::uint64_t refused = 0;
  std::uint64_t not_prefetched = 0;

 private:
  struct Held {
    std::size_t layer;
    std::size_t stream;
  };

  [[nodiscard]] std::size_t streamed_layers_held() const {
    std::array<bool, kLayers> held{};
    for (const Held& one : held_) held[one.layer] = one.layer >= kResident;
    return static_cast<std::size_t>(std::count(held.begin(), held.end(), true));
  }
  [[nodiscard]] bool is_held(std::size_t layer) const {
    return std::any_of(held_.begin(), held_.end(),
                       [&](const Held& one) { return one.layer == layer; });
  }
  [[nodiscard]] std::vector<std::uint32_t> some_experts() {
    std::vector<std::uint32_t> experts;
    if (made_.plan().layers[0].experts == 0) return experts;
    for (std::uint32_t e = 0; e < 3; ++e) {
      if (random_() % 2 == 0) experts.push_back(e);
    }
    return experts;
  }

  void prefetch(std::size_t layer) {
    const bool begun = on_.streamer.prefetch(layer, some_experts());
    if (begun) return;
    ++not_prefetched;
    EXPECT_GE(layer, kResident);
    EXPECT_FALSE(is_held(layer));
  }

  void acquire(std::size_t layer) {
    const std::size_t stream = random_() % kStreams;
    const bool room = layer < kResident || is_held(layer) || streamed_layers_held() < slots_;
    const std::vector<std::uint32_t> experts = some_experts();
    try {
      const std::byte* const at = on_.streamer.acquire(layer, streams_[stream].handle(), experts);
      EXPECT_TRUE(room);
      held_.push_back({.layer = layer, .stream = stream});
      ++acquired;
      compute(layer, stream, at, experts);
    } catch (const WrongState&) {
      EXPECT_FALSE(room);
      ++refused;
    }
  }

  // Reads the layer twice, with some time in between.
  void compute(std::size_t layer, std::size_t stream, const std::byte* at,
               std::vector<std::uint32_t> experts) {
    const std::uint64_t random = random_();
    reinterpret_cast<internal::HostStream*>(streams_[stream].handle())
        ->put([this, layer, at, random, experts = std::move(experts)] {
          const bool before = made_.is_at(layer, at, experts);
          dawdle(random);
          if (!before || !made_.is_at(layer, at, experts)) ++torn_;
        });
  }

  void release_any() {
    if (held_.empty()) return;
    const std::size_t i = random_() % held_.size();
    on_.streamer.release(held_[i].layer, streams_[held_[i].stream].handle());
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  std::mt19937_64 random_;
  std::uint64_t slots_;
  MadeLayers made_;
  SpoilingDevice device_;
  std::vector<DeviceStream> streams_;
  StreamedOnDevice on_;
  std::vector<Held> held_;
  std::atomic<std::uint64_t> torn_ = 0;
};

class LayerStreamerRandom : public testing::TestWithParam<StreamSource> {};
INSTANTIATE_TEST_SUITE_P(Sources, LayerStreamerRandom,
                         testing::Values(StreamSource::pin, StreamSource::staged));

TEST_P(LayerStreamerRandom, SlotsAreNeverTorn) {
  constexpr std::size_t kSteps = 4'000;
  std::uint64_t acquired = 0;
  std::uint64_t refused = 0;
  std::uint64_t not_prefetched = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Life life(seed, 1 + seed % 4, GetParam());
    life.play(kSteps);
    ASSERT_EQ(life.torn(), 0U);
    acquired += life.acquired;
    refused += life.refused;
    not_prefetched += life.not_prefetched;
  }
  EXPECT_GE(acquired, kSteps);
  EXPECT_GE(refused, kSteps / 20);
  EXPECT_GE(not_prefetched, kSteps / 20);
}

// The tests must notice if any kind of wait is missing. These tests force the order of events in
// which it matters.
class DroppedWait : public LayerStreamerRandom {
 protected:
  void SetUp() override {
    if (kThreadSanitized) GTEST_SKIP() << "ThreadSanitizer reports the race itself";
  }
  // Overwritten with garbage, because memory of an earlier test may still hold a layer.
  [[nodiscard]] DeviceSpan<std::byte> slot(const StreamedOnDevice& on) const {
    const Region& region = made_.plan().device.regions().last(made_.plan().slots)[0];
    std::fill_n(on.place.data() + region.offset, region.bytes, kSpoiled);
    return on.place.subspan(region.offset, region.bytes);
  }

  // Staging has room for whole layers, so that the host waits for no copy.
  const MadeLayers made_{{.slots = 1, .staging_buffer = 4096, .staging_buffers = 8}};
};
INSTANTIATE_TEST_SUITE_P(Sources, DroppedWait,
                         testing::Values(StreamSource::pin, StreamSource::staged));

TEST_P(DroppedWait, ForAnArrivalIsSeen) {
  SpoilingDevice device(Dropped::waits_for_arrival);
  const DeviceStream stream(device);
  device.computes_on(stream.handle());
  StreamedOnDevice on(device, made_, {.source = GetParam()});
  std::promise<void> let_copies_go;
  device.begin(slot(on), let_copies_go.get_future().share());
  const std::byte* const at = on.streamer.acquire(0, stream.handle());
  stream.synchronize();  // by now, work that uses the layer would have run
  EXPECT_FALSE(made_.is_at(0, at));
  let_copies_go.set_value();
  device.synchronize();
  EXPECT_TRUE(made_.is_at(0, at));
}

TEST_P(DroppedWait, ForAReleaseIsSeen) {
  SpoilingDevice device(Dropped::waits_for_release);
  const DeviceStream stream(device);
  const DeviceStream other(device);
  device.computes_on(stream.handle());
  device.computes_on(other.handle());
  StreamedOnDevice on(device, made_, {.source = GetParam()});
  device.begin(slot(on));
  const std::byte* const at = on.streamer.acquire(0, stream.handle());
  stream.synchronize();
  EXPECT_TRUE(made_.is_at(0, at));
  const HeldStream held(stream.handle());  // still computes with the layer
  on.streamer.release(0, stream.handle());
  EXPECT_EQ(on.streamer.acquire(1, other.handle()), at);
  other.synchronize();
  EXPECT_FALSE(made_.is_at(0, at));
}

}  // namespace
}  // namespace tapedeck::tests
