#include "tapedeck/device/device_tape.hpp"

#include <algorithm>
#include <utility>

#include "base/on_failure.hpp"
#include "memory/tape_parts.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct DeviceTape::Cold : internal::TapeCold<DeviceBlock, DeviceTapeOptions> {
  using TapeCold::TapeCold;
};

DeviceTape::DeviceTape() noexcept = default;
DeviceTape::DeviceTape(DeviceTape&& other) noexcept { swap(other); }
DeviceTape& DeviceTape::operator=(DeviceTape&& other) noexcept {
  DeviceTape moved(std::move(other));
  swap(moved);
  return *this;
}
DeviceTape::~DeviceTape() = default;

void DeviceTape::swap(DeviceTape& other) noexcept {
  TapeHead::swap(other);
  std::swap(sealed_, other.sealed_);
  std::swap(cold_, other.cold_);
}

DeviceTape DeviceTape::start(Device& device, std::size_t bytes, DeviceTapeOptions options) {
  const auto rounded = checked_round_up(bytes, kDeviceLine);
  if (!rounded) {
    throw InvalidArgument({.argument = "bytes", .value = bytes},
                          "tape " + options.name + " cannot address " + to_iec(bytes),
                          "ask for less");
  }
  DeviceBlock block = DeviceBlock::allocate(device, *rounded, options.block);
  return over(std::move(block), std::move(options));
}

DeviceTape DeviceTape::reserve(PagePool& pool, std::size_t bytes, DeviceTapeOptions options) {
  DeviceBlock block = DeviceBlock::reserve(pool, bytes, options.block);
  return over(std::move(block), std::move(options));
}

DeviceTape DeviceTape::over(DeviceBlock block, DeviceTapeOptions options) {
  const auto first = checked_round_up(internal::address_of(block.data()), kDeviceLine);
  const std::uintptr_t end =
      round_down(internal::address_of(block.data()) + block.size(), kDeviceLine);
  if (block.size() == 0 || !first || *first >= end) {
    internal::throw_no_whole_line(options.name, block.size(), kDeviceLine);
  }
  return behind({reinterpret_cast<std::byte*>(*first), 0}, std::move(block), std::move(options));
}

DeviceTape DeviceTape::behind(std::span<std::byte> planned, DeviceBlock above,
                              DeviceTapeOptions options) {
  const std::uintptr_t base = internal::address_of(planned.data());
  const std::uintptr_t floor = round_up(base + planned.size(), kDeviceLine);
  const std::uintptr_t begin = internal::address_of(above.data());
  if (above.size() != 0 && round_up(begin, kDeviceLine) != floor) {
    throw InvalidArgument(
        {.argument = "above"},
        "the block of tape " + options.name + " does not begin where its planned bytes end",
        "give the block right behind them");
  }
  DeviceTape tape;
  tape.lie_over(base, floor,
                above.size() != 0 ? round_down(begin + above.size(), kDeviceLine) : floor);
  tape.cold_ = std::make_unique<Cold>(std::move(above), std::move(options));
  tape.watch_.watch(tape.cold_->options.name.c_str());
  tape.cold_->planned = floor - base;
  tape.uncommitted_.store(planned.size(), std::memory_order_relaxed);
  tape.note_commit();
  return tape;
}

void DeviceTape::note_planned(std::size_t committed, bool grew) noexcept {
  const std::size_t planned = cold_->planned;
  uncommitted_.store(planned - std::min(committed, planned), std::memory_order_relaxed);
  if (grew) internal::increase(cold_->grows, std::uint64_t{1});
}

// The takes of no bytes, at a wide alignment that the head does not have, and those that do not
// fit.
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
  watch_.on_write();
  const std::uintptr_t end = end_of_next(bytes);
  if (end == 0) throw_full(bytes);
  if (is_committed(end)) return;
  if (sealed_) {
    throw WrongState("tape " + name(), ObjectState::sealed,
                     "tape " + name() + " is sealed, and would have to grow",
                     "prepare all that is needed before seal()");
  }
  cold_->block.commit(end - internal::address_of(cold_->block.data()));
  internal::increase(cold_->grows, std::uint64_t{1});
  note_commit();
}

bool DeviceTape::try_prepare(std::size_t bytes) noexcept {
  return internal::succeeds([&] { prepare(bytes); });
}

void DeviceTape::note_commit() noexcept {
  const DeviceBlock& block = cold_->block;
  if (block.size() != 0) commit_until(internal::address_of(block.data()) + block.committed());
  internal::note_pages(*cold_);
}

std::size_t DeviceTape::decommit(EventHandle after) {
  watch_.on_write();
  if (sealed_) {
    throw WrongState("tape " + name(), ObjectState::sealed,
                     "tape " + name() + " is sealed, and keeps its pages",
                     "graphs may have been captured over them");
  }
  if (cold_ == nullptr || cold_->block.size() == 0) return 0;
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const std::size_t given_back =
      cold_->block.decommit(head - internal::address_of(cold_->block.data()), after);
  note_commit();
  return given_back;
}

const std::string& DeviceTape::name() const noexcept { return internal::name_of(cold_.get()); }
const DeviceBlock& DeviceTape::block() const noexcept {
  return internal::block_of<DeviceBlock>(cold_.get());
}
TapeStat DeviceTape::stat() const noexcept { return internal::stat_of(*this, cold_.get()); }

}  // namespace tapedeck::inline TAPEDECK_ABI
