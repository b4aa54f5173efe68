// SPDX-License-Identifier: Apache-2.0
/// @file
/// What every `Device` guarantees about streams and events. See device_contract.hpp.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include "device/device_contract.hpp"

namespace tapedeck::tests {

template <class Kind>
class DeviceStreamContract : public DeviceContract<Kind> {};

TYPED_TEST_SUITE_P(DeviceStreamContract);

TYPED_TEST_P(DeviceStreamContract, TakesAnEventNeverRecordedForFired) {
  Device& device = this->device();
  const DeviceEvent event(device);
  EXPECT_TRUE(event.fired());
  event.synchronize();
  const DeviceStream stream(device);
  device.wait(stream.handle(), event.handle());
  stream.synchronize();
}

TYPED_TEST_P(DeviceStreamContract, RunsWhatIsOnAStreamAndFiresEventsInOrder) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  const DeviceStream stream(device);
  const Pinned got(device, 1000);
  DeviceEvent first(device);
  DeviceEvent second(device);
  first.record(stream.handle());
  for (unsigned round = 1; round <= 50; ++round) {
    device.fill(pages.at(), static_cast<std::byte>(round), 1000, stream.handle());
  }
  device.copy(got.at(), pages.at(), 1000, stream.handle());
  second.record(stream.handle());
  second.synchronize();
  EXPECT_TRUE(first.fired());
  EXPECT_TRUE(second.fired());
  EXPECT_EQ(got.bytes(), Bytes(1000, std::byte{50}));
}

TYPED_TEST_P(DeviceStreamContract, OrdersStreamsByEvents) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  const DeviceStream writer(device);
  const DeviceStream reader(device);
  const Pinned got(device, this->page());
  DeviceEvent written(device);
  DeviceEvent read(device);
  for (unsigned round = 1; round <= 50; ++round) {
    const auto value = static_cast<std::byte>(round);
    device.wait(writer.handle(), read.handle());
    device.fill(pages.at(), value, this->page(), writer.handle());
    written.record(writer.handle());
    device.wait(reader.handle(), written.handle());
    device.copy(got.at(), pages.at(), this->page(), reader.handle());
    read.record(reader.handle());
    read.synchronize();
    ASSERT_EQ(got.bytes(), Bytes(this->page(), value)) << round;
  }
}

TYPED_TEST_P(DeviceStreamContract, IsAsynchronous) {
  if (!this->kHolds) GTEST_SKIP() << "this kind cannot hold a stream";
  Device& device = this->device();
  const DeviceStream blocked(device);
  const DeviceStream copies(device);
  // Not from host to host, because a GPU's driver waits for such copies.
  const MappedPages from(device, this->page());
  const Pinned to(device, 1000);
  this->upload(from.at(), pattern(1000));
  DeviceEvent start(device);
  DeviceEvent arrived(device);
  {
    const auto held = this->hold(blocked.handle());
    start.record(blocked.handle());
    device.wait(copies.handle(), start.handle());
    device.copy(to.at(), from.at(), 1000, copies.handle());
    arrived.record(copies.handle());
    // A stream that waits for nothing continues meanwhile.
    device.synchronize(nullptr);
    EXPECT_FALSE(start.fired());
    EXPECT_FALSE(arrived.fired());
    EXPECT_EQ(to.bytes(), Bytes(1000));
  }
  arrived.synchronize();
  EXPECT_TRUE(start.fired());
  EXPECT_EQ(to.bytes(), pattern(1000));
}

TYPED_TEST_P(DeviceStreamContract, ForgetsAFormerRecord) {
  if (!this->kHolds) GTEST_SKIP() << "this kind cannot hold a stream";
  Device& device = this->device();
  const DeviceStream stream(device);
  DeviceEvent event(device);
  event.record(stream.handle());
  event.synchronize();
  {
    const auto held = this->hold(stream.handle());
    event.record(stream.handle());
    EXPECT_FALSE(event.fired());
  }
  event.synchronize();
  EXPECT_TRUE(event.fired());
}

TYPED_TEST_P(DeviceStreamContract, WaitsForTheRecordThatIsTheLastOneThen) {
  if (!this->kHolds) GTEST_SKIP() << "this kind cannot hold a stream";
  Device& device = this->device();
  const DeviceStream early(device);
  const DeviceStream late(device);
  const DeviceStream waiting(device);
  DeviceEvent event(device);
  DeviceEvent passed(device);
  const auto held = this->hold(late.handle());
  event.record(early.handle());
  device.wait(waiting.handle(), event.handle());
  event.record(late.handle());
  passed.record(waiting.handle());
  passed.synchronize();
  EXPECT_FALSE(event.fired());
}

TYPED_TEST_P(DeviceStreamContract, RunsWhatIsOnADestroyedStream) {
  Device& device = this->device();
  const Pinned got(device, 1000);
  const MappedPages pages(device, this->page());
  DeviceEvent arrived(device);
  {
    const DeviceStream stream(device);
    device.fill(pages.at(), std::byte{3}, 1000, stream.handle());
    device.copy(got.at(), pages.at(), 1000, stream.handle());
    arrived.record(stream.handle());
  }
  arrived.synchronize();
  EXPECT_EQ(got.bytes(), Bytes(1000, std::byte{3}));
}

TYPED_TEST_P(DeviceStreamContract, WaitsForEventsThatAreDestroyed) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  const Pinned got(device, 1000);
  const DeviceStream writer(device);
  const DeviceStream reader(device);
  {
    DeviceEvent written(device);
    device.fill(pages.at(), std::byte{4}, 1000, writer.handle());
    written.record(writer.handle());
    device.wait(reader.handle(), written.handle());
  }
  device.copy(got.at(), pages.at(), 1000, reader.handle());
  reader.synchronize();
  EXPECT_EQ(got.bytes(), Bytes(1000, std::byte{4}));
}

TYPED_TEST_P(DeviceStreamContract, SynchronizesAllStreams) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  const Pinned got(device, 300);
  const DeviceStream one(device);
  const DeviceStream other(device);
  auto held = this->hold(other.handle());
  std::size_t begin = 0;
  for (auto* const stream : {StreamHandle{}, one.handle(), other.handle()}) {
    device.fill(pages.at() + begin, std::byte{5}, 100, stream);
    device.copy(got.at() + begin, pages.at() + begin, 100, stream);
    begin += 100;
  }
  // An implementation that does not wait for the last stream returns too early.
  std::jthread release([held = std::move(held)]() mutable {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    held.reset();
  });
  device.synchronize();
  EXPECT_EQ(got.bytes(), Bytes(300, std::byte{5}));
}

TYPED_TEST_P(DeviceStreamContract, ServesManyThreads) {
  Device& device = this->device();
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&device, page = this->page(), seed] {
      const Bytes bytes = pattern(1000, seed);
      for (int round = 0; round < 20; ++round) {
        const MappedPages pages(device, page);
        const DeviceStream stream(device);
        Pinned there(device, bytes.size());
        const Pinned back(device, bytes.size());
        there.put(bytes);
        device.copy(pages.at(), there.at(), bytes.size(), stream.handle());
        device.copy(back.at(), pages.at(), bytes.size(), stream.handle());
        stream.synchronize();
        EXPECT_EQ(back.bytes(), bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

REGISTER_TYPED_TEST_SUITE_P(DeviceStreamContract, TakesAnEventNeverRecordedForFired,
                            RunsWhatIsOnAStreamAndFiresEventsInOrder, OrdersStreamsByEvents,
                            IsAsynchronous, ForgetsAFormerRecord,
                            WaitsForTheRecordThatIsTheLastOneThen, RunsWhatIsOnADestroyedStream,
                            WaitsForEventsThatAreDestroyed, SynchronizesAllStreams,
                            ServesManyThreads);

}  // namespace tapedeck::tests
