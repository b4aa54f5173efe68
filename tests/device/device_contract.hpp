// SPDX-License-Identifier: Apache-2.0
/// @file
/// What every `Device` guarantees about memory and copies; device_stream_contract.hpp has the rest.
/// For a kind of device
/// @code{.cpp}
/// struct Kind {
///   // Its memory is exactly as large as requested and not shared, so all figures are exact.
///   static constexpr bool kWholeDevice;
///   std::unique_ptr<Device> make(std::size_t limit);  // with at least that much memory
///   // While the returned object lives, the stream starts no work. If a kind has no hold(), the
///   // tests that show that streams are asynchronous are skipped.
///   auto hold(Device& device, StreamHandle stream);
/// };
/// INSTANTIATE_TYPED_TEST_SUITE_P(Name, DeviceContract, Kind);
/// INSTANTIATE_TYPED_TEST_SUITE_P(Name, DeviceStreamContract, Kind);
/// @endcode
/// The kind outlives its device, so its destructor can check what was left behind.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/on_failure.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_error.hpp"
#include "tapedeck/device/device_stream.hpp"

namespace tapedeck::tests {

using Bytes = std::vector<std::byte>;

/// Returns pseudo-random bytes, so that bytes in a wrong place are noticed.
[[nodiscard]] inline Bytes pattern(std::size_t bytes, unsigned seed = 1) {
  Bytes made(bytes);
  unsigned value = seed;
  for (std::byte& byte : made) {
    value = value * 1103515245U + 12345U;
    byte = static_cast<std::byte>(value >> 16U);
  }
  return made;
}

/// Pages that are mapped. Everything is freed even if construction fails midway.
class MappedPages {
 public:
  MappedPages(Device& device, std::size_t bytes) : device_(device), bytes_(bytes) {
    internal::OnFailure undo([this] { give_back(); });
    reserve_and_map();
    undo.completed();
  }
  ~MappedPages() { give_back(); }
  MappedPages(const MappedPages&) = delete;
  MappedPages& operator=(const MappedPages&) = delete;

  [[nodiscard]] std::byte* at() const noexcept { return at_; }

 private:
  void reserve_and_map() {
    at_ = device_.reserve(bytes_);
    pages_ = device_.create_pages(bytes_);
    device_.map(at_, pages_, bytes_);
    is_mapped_ = true;
  }
  void give_back() noexcept {
    if (is_mapped_) device_.unmap(at_, bytes_);
    if (pages_ != 0) device_.destroy_pages(pages_);
    if (at_ != nullptr) device_.unreserve(at_, bytes_);
  }

  Device& device_;
  std::size_t bytes_;
  std::byte* at_ = nullptr;
  PageHandle pages_ = 0;
  bool is_mapped_ = false;
};

/// Pinned memory, filled with zeros.
class Pinned : public internal::PinnedMemory {
 public:
  Pinned(Device& device, std::size_t bytes) : DeviceOwned(device, bytes), bytes_(bytes) {
    std::fill_n(at(), bytes_, std::byte{0});
  }

  [[nodiscard]] std::byte* at() const noexcept { return handle(); }
  void put(const Bytes& bytes) { std::copy(bytes.begin(), bytes.end(), at()); }
  [[nodiscard]] Bytes bytes() const { return {at(), at() + bytes_}; }

 private:
  std::size_t bytes_;
};

/// How much of a device's memory others, or the driver itself, may allocate or free during a test.
inline constexpr std::size_t kTakenByOthers = 16_MiB;

template <class Kind>
class DeviceContract : public testing::Test {
 public:
  static constexpr std::size_t kLimit = 64_MiB;
  static constexpr bool kWholeDevice = Kind::kWholeDevice;

  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] std::size_t page() { return device_->info().granularity; }

  void upload(std::byte* to, const Bytes& bytes) {
    device_->copy(to, bytes.data(), bytes.size(), nullptr);
    device_->synchronize(nullptr);
  }
  [[nodiscard]] Bytes download(const std::byte* from, std::size_t bytes) {
    Bytes got(bytes);
    device_->copy(got.data(), from, bytes, nullptr);
    device_->synchronize(nullptr);
    return got;
  }

  /// Expects that this many of the bytes that were free at first are taken.
  void expect_taken(std::size_t bytes) {
    constexpr std::size_t kUnsure = kWholeDevice ? 0 : kTakenByOthers;
    const std::size_t had = device_->memory().free + bytes;
    EXPECT_GE(had + kUnsure, free_at_first_);
    EXPECT_LE(had, free_at_first_ + kUnsure);
  }

  static constexpr bool kHolds = requires(Kind kind, Device& device) {
    kind.hold(device, StreamHandle{});
  };
  /// Holds the stream until the result is destroyed or reset.
  [[nodiscard]] std::shared_ptr<void> hold(StreamHandle stream) {
    if constexpr (kHolds) {
      using Held = decltype(kind_.hold(*device_, stream));
      return std::shared_ptr<Held>(new Held(kind_.hold(*device_, stream)));
    } else {
      return nullptr;
    }
  }

 private:
  Kind kind_{};
  std::unique_ptr<Device> device_{kind_.make(kLimit)};
  std::size_t free_at_first_ = device_->memory().free;
};

template <class Body>
void expect_out_of_memory(const Device& device, std::size_t bytes, const Body& body) {
  try {
    body();
    ADD_FAILURE() << "there was room for " << to_iec(bytes);
  } catch (const DeviceOutOfMemory& error) {
    EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
    EXPECT_EQ(error.number(), DeviceOutOfMemory::kOutOfMemory);
    EXPECT_THROW(throw error, std::bad_alloc);
    EXPECT_EQ(error.name(), "CUDA_ERROR_OUT_OF_MEMORY");
    EXPECT_EQ(error.bytes(), bytes);
    EXPECT_EQ(error.device(), device.label());
    EXPECT_NE(error.call(), "");
    EXPECT_NE(error.advice(), "");
  }
}

TYPED_TEST_SUITE_P(DeviceContract);

TYPED_TEST_P(DeviceContract, SaysWhatItIs) {
  const DeviceInfo& info = this->device().info();
  EXPECT_EQ(this->device().label(), info.name + " " + std::to_string(info.ordinal));
  EXPECT_TRUE(std::has_single_bit(info.granularity));
  const DeviceMemory memory = this->device().memory();
  if (this->kWholeDevice) {
    EXPECT_EQ(info.total, this->kLimit);
    EXPECT_EQ(memory.total, this->kLimit);
    EXPECT_EQ(memory.free, this->kLimit);
  } else {
    EXPECT_GT(info.total, this->kLimit);
    EXPECT_GT(memory.total, memory.free);
    EXPECT_GT(memory.free, this->kLimit);
  }
}

TYPED_TEST_P(DeviceContract, ReservesAddressesForNothing) {
  const std::size_t bytes = 16 * this->kLimit;
  std::byte* const one = this->device().reserve(bytes);
  std::byte* const other = this->device().reserve(bytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one) % this->page(), 0U);
  EXPECT_TRUE(one + bytes <= other || other + bytes <= one);
  this->expect_taken(0);
  this->device().unreserve(one, bytes);
  this->device().unreserve(other, bytes);
}

TYPED_TEST_P(DeviceContract, CountsPagesAndAllocations) {
  Device& device = this->device();
  const std::size_t bytes = this->kLimit - this->page();
  const PageHandle pages = device.create_pages(bytes);
  EXPECT_NE(pages, 0U);
  this->expect_taken(bytes);
  device.destroy_pages(pages);
  this->expect_taken(0);
  std::byte* const at = device.allocate(this->kLimit);
  this->expect_taken(this->kLimit);
  device.deallocate(at);
  this->expect_taken(0);
}

TYPED_TEST_P(DeviceContract, KeepsWhatIsInPages) {
  Device& device = this->device();
  const std::size_t page = this->page();
  const Bytes bytes = pattern(page);
  std::byte* const range = device.reserve(4 * page);
  const PageHandle pages = device.create_pages(page);
  device.map(range, pages, page);
  this->upload(range, bytes);
  device.unmap(range, page);
  device.map(range + 3 * page, pages, page);
  EXPECT_EQ(this->download(range + 3 * page, page), bytes);
  device.unmap(range + 3 * page, page);
  device.destroy_pages(pages);
  device.unreserve(range, 4 * page);
}

TYPED_TEST_P(DeviceContract, GrowsARangeInPlace) {
  Device& device = this->device();
  const std::size_t page = this->page();
  const Bytes bytes = pattern(3 * page);
  std::byte* const range = device.reserve(4 * page);
  const PageHandle first = device.create_pages(page);
  device.map(range, first, page);
  this->upload(range, Bytes(page, std::byte{7}));
  const PageHandle more = device.create_pages(2 * page);
  device.map(range + page, more, 2 * page);
  EXPECT_EQ(this->download(range, page), Bytes(page, std::byte{7}));
  // Pages that are mapped next to each other form one range.
  this->upload(range, bytes);
  EXPECT_EQ(this->download(range, 3 * page), bytes);
  device.unmap(range + page, 2 * page);
  device.destroy_pages(more);
  device.unmap(range, page);
  device.destroy_pages(first);
  device.unreserve(range, 4 * page);
}

TYPED_TEST_P(DeviceContract, RefusesWhatIsAboveItsMemory) {
  Device& device = this->device();
  const std::size_t total = device.info().total;
  const std::size_t most = total / this->page() * this->page();
  const std::size_t more = most + this->page();
  expect_out_of_memory(device, more, [&] { static_cast<void>(device.create_pages(more)); });
  this->expect_taken(0);
  const PageHandle pages = device.create_pages(this->page());
  expect_out_of_memory(device, total, [&] { static_cast<void>(device.allocate(total)); });
  this->expect_taken(this->page());
  device.destroy_pages(pages);
  if (this->kWholeDevice) {
    device.destroy_pages(device.create_pages(most));
    device.deallocate(device.allocate(total));
  }
  this->expect_taken(0);
}

TYPED_TEST_P(DeviceContract, AllocatesApartAndAligned) {
  Device& device = this->device();
  const Bytes some = pattern(1000, 1);
  const Bytes others = pattern(1000, 2);
  std::byte* const one = device.allocate(some.size());
  std::byte* const other = device.allocate(others.size());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one) % 256, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(other) % 256, 0U);
  this->upload(one, some);
  this->upload(other, others);
  EXPECT_EQ(this->download(one, some.size()), some);
  EXPECT_EQ(this->download(other, others.size()), others);
  device.deallocate(one);
  device.deallocate(other);
}

TYPED_TEST_P(DeviceContract, CopiesFromDeviceToDevice) {
  Device& device = this->device();
  const MappedPages from(device, this->page());
  std::byte* const to = device.allocate(this->page());
  const Bytes bytes = pattern(this->page());
  this->upload(from.at(), bytes);
  device.copy(to, from.at(), bytes.size(), nullptr);
  EXPECT_EQ(this->download(to, bytes.size()), bytes);
  device.deallocate(to);
}

TYPED_TEST_P(DeviceContract, CopiesAndFillsARangeAndNothingElse) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  Bytes bytes = pattern(1000);
  this->upload(pages.at(), bytes);
  bytes[42] = ~bytes[42];
  this->upload(pages.at() + 42, {bytes[42]});
  device.fill(pages.at() + 100, std::byte{0xAB}, 300, nullptr);
  device.fill(pages.at() + 500, std::byte{0xCD}, 1, nullptr);
  device.copy(pages.at(), nullptr, 0, nullptr);
  device.fill(pages.at(), std::byte{1}, 0, nullptr);
  std::fill_n(bytes.begin() + 100, 300, std::byte{0xAB});
  bytes[500] = std::byte{0xCD};
  EXPECT_EQ(this->download(pages.at(), bytes.size()), bytes);
}

TYPED_TEST_P(DeviceContract, CopiesPinnedMemory) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  const DeviceStream stream(device);
  const Bytes bytes = pattern(this->page());
  Pinned there(device, bytes.size());
  const Pinned back(device, bytes.size());
  there.put(bytes);
  device.copy(pages.at(), there.at(), bytes.size(), stream.handle());
  device.copy(back.at(), pages.at(), bytes.size(), stream.handle());
  stream.synchronize();
  EXPECT_EQ(back.bytes(), bytes);
  const Pinned again(device, bytes.size());
  device.copy(again.at(), there.at(), bytes.size(), stream.handle());  // from host to host
  stream.synchronize();
  EXPECT_EQ(again.bytes(), bytes);
}

TYPED_TEST_P(DeviceContract, PinsWhatIsThere) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  Bytes bytes = pattern(this->page());
  const Bytes same = bytes;
  device.pin(bytes);
  this->upload(pages.at(), bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  device.copy(bytes.data(), pages.at(), bytes.size(), nullptr);
  device.synchronize(nullptr);
  EXPECT_EQ(bytes, same);
  device.unpin(bytes.data());
  device.pin(bytes);
  device.unpin(bytes.data());
}

TYPED_TEST_P(DeviceContract, PinsWhatIsOnlyRead) {
  Device& device = this->device();
  const MappedPages pages(device, this->page());
  const Bytes bytes = pattern(this->page());
  try {
    device.pin_read_only(bytes);
  } catch (const DeviceError& error) {
    GTEST_SKIP() << "this device cannot: " << error.what();
  }
  this->upload(pages.at(), bytes);
  EXPECT_EQ(this->download(pages.at(), bytes.size()), bytes);
  device.unpin(bytes.data());
}

REGISTER_TYPED_TEST_SUITE_P(DeviceContract, SaysWhatItIs, ReservesAddressesForNothing,
                            CountsPagesAndAllocations, KeepsWhatIsInPages, GrowsARangeInPlace,
                            RefusesWhatIsAboveItsMemory, AllocatesApartAndAligned,
                            CopiesFromDeviceToDevice, CopiesAndFillsARangeAndNothingElse,
                            CopiesPinnedMemory, PinsWhatIsThere, PinsWhatIsOnlyRead);

}  // namespace tapedeck::tests
