// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/device_tape.hpp"

#include <utility>

#include "base/on_failure.hpp"
#include "memory/tape_parts.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

template class BlockTape<kDeviceLine, DeviceBlock, DeviceTapeOptions>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

DeviceTape::DeviceTape() noexcept = default;
DeviceTape::DeviceTape(DeviceTape&& other) noexcept { swap(other); }
DeviceTape::~DeviceTape() = default;

void DeviceTape::swap(DeviceTape& other) noexcept {
  BlockTape::swap(other);
  std::swap(sealed_, other.sealed_);
}

namespace {

void require_bytes(const Device& device, std::size_t bytes, const DeviceTapeOptions& options) {
  if (bytes != 0) return;
  throw InvalidArgument({.argument = "bytes", .value = 0, .limit = 1},
                        "tape " + options.name + " on " + device.label() + " cannot have 0 bytes",
                        "request at least 1");
}

void require_no_hooks(const DeviceTapeOptions& options) {
  if (!options.block.on_commit && !options.block.on_decommit) return;
  throw InvalidArgument(
      {.argument = "DeviceTapeOptions::block"},
      "tape " + options.name + " is made over a block that exists already, so hooks have no effect",
      "pass them where the block is made");
}

}  // namespace

DeviceTape DeviceTape::start(Device& device, std::size_t bytes, DeviceTapeOptions options) {
  require_bytes(device, bytes, options);
  const auto rounded = checked_round_up(bytes, kDeviceLine);
  if (!rounded) {
    throw InvalidArgument({.argument = "bytes", .value = bytes},
                          "tape " + options.name + " cannot address " + to_iec(bytes),
                          "request less");
  }
  DeviceBlock block = DeviceBlock::allocate(device, *rounded, std::exchange(options.block, {}));
  return over(std::move(block), std::move(options));
}

DeviceTape DeviceTape::reserve(PagePool& pool, std::size_t bytes, DeviceTapeOptions options) {
  require_bytes(pool.device(), bytes, options);
  DeviceBlock block = DeviceBlock::reserve(pool, bytes, std::exchange(options.block, {}));
  return over(std::move(block), std::move(options));
}

DeviceTape DeviceTape::over(DeviceBlock block, DeviceTapeOptions options) {
  require_no_hooks(options);
  DeviceTape tape;
  tape.lie_over_lines(block, options.name);
  tape.hold(std::move(block), std::move(options));
  return tape;
}

DeviceTape DeviceTape::behind(std::span<std::byte> planned, DeviceBlock above,
                              DeviceTapeOptions options) {
  require_no_hooks(options);
  DeviceTape tape;
  tape.lie_behind(planned, above, options.name);
  tape.hold(std::move(above), std::move(options));
  return tape;
}

// The rare takes: of zero bytes, at an alignment that the head does not have, or that do not fit.
void* DeviceTape::take_slow(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  const std::uintptr_t start = start_behind(head_.load(std::memory_order_relaxed), bytes, align);
  const std::uintptr_t end = round_up(start + bytes, kDeviceLine);
  if (start == 0 || !is_committed(end)) {
    if (cold_ != nullptr) internal::increase(cold_->refused, std::uint64_t{1});
    return nullptr;
  }
  head_.store(end, std::memory_order_relaxed);
  return reinterpret_cast<void*>(start);
}

void DeviceTape::prepare(std::size_t bytes) {
  if (sealed_ && !is_committed(end_of_next(bytes))) {
    throw WrongState("tape " + name(), ObjectState::sealed,
                     "tape " + name() + " is sealed and cannot grow",
                     "prepare everything that is needed before seal()");
  }
  BlockTape::prepare(bytes);
}

bool DeviceTape::try_prepare(std::size_t bytes) noexcept {
  return internal::succeeds([&] { prepare(bytes); });
}

std::size_t DeviceTape::decommit(EventHandle after) {
  if (sealed_) {
    throw WrongState("tape " + name(), ObjectState::sealed,
                     "tape " + name() + " is sealed and cannot release its pages",
                     "decommit before seal(), since graphs may have been captured over the pages");
  }
  return BlockTape::decommit(after);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
