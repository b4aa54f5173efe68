#include "tapedeck/device/device_tape.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

// One writer: a plain increment.
void count(std::atomic<std::uint64_t>& counter) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

struct DeviceTape::Cold {
  DeviceTapeOptions options;
  DeviceBlock block;
  std::atomic<std::uint64_t> uncommitted{0};  // of what is planned, and somebody else commits
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> grows{0};
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
  internal::swap_relaxed(head_, other.head_);
  internal::swap_relaxed(limit_, other.limit_);
  internal::swap_relaxed(floor_, other.floor_);
  std::swap(base_, other.base_);
  internal::swap_relaxed(peak_, other.peak_);
  internal::swap_relaxed(former_peak_, other.former_peak_);
  internal::swap_relaxed(clears_, other.clears_);
  std::swap(end_, other.end_);
  std::swap(sealed_, other.sealed_);
  std::swap(cold_, other.cold_);
}

DeviceTape DeviceTape::start(Device& device, std::size_t bytes, DeviceTapeOptions options) {
  const auto rounded = checked_round_up(bytes, kDeviceLine);
  if (!rounded) throw InvalidArgument("tape " + options.name + ": more than can be addressed");
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
    throw InvalidArgument("tape " + options.name + ": no whole line of 256 bytes to lie over");
  }
  return behind({reinterpret_cast<std::byte*>(*first), 0}, std::move(block), std::move(options));
}

DeviceTape DeviceTape::behind(std::span<std::byte> planned, DeviceBlock above,
                              DeviceTapeOptions options) {
  DeviceTape tape;
  tape.base_ = internal::address_of(planned.data());
  const std::uintptr_t floor = round_up(tape.base_ + planned.size(), kDeviceLine);
  const std::uintptr_t begin = internal::address_of(above.data());
  if (above.size() != 0 && round_up(begin, kDeviceLine) != floor) {
    throw InvalidArgument("tape " + options.name + ": the block for takes begins elsewhere",
                          "it begins right behind what is planned");
  }
  tape.end_ = above.size() != 0 ? round_down(begin + above.size(), kDeviceLine) : floor;
  for (auto* one : {&tape.head_, &tape.limit_, &tape.floor_, &tape.peak_, &tape.former_peak_}) {
    one->store(floor);
  }
  tape.cold_ = std::make_unique<Cold>();
  tape.cold_->options = std::move(options);
  tape.cold_->block = std::move(above);
  tape.cold_->uncommitted = planned.size();
  tape.note_commit();
  return tape;
}

void DeviceTape::note_planned(std::size_t committed, bool grew) noexcept {
  cold_->uncommitted.store(floor() - std::min(committed, floor()), std::memory_order_relaxed);
  if (grew) count(cold_->grows);
}

// The takes at a wide alignment that the head does not have.
void* DeviceTape::take_aligned(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  const auto start = checked_round_up(head_.load(std::memory_order_relaxed), align);
  const auto lines = checked_round_up(bytes, kDeviceLine);
  const std::uintptr_t limit = limit_.load(std::memory_order_relaxed);
  if (!start || !lines || *start > limit || *lines > limit - *start) return refuse();
  head_.store(*start + *lines, std::memory_order_relaxed);
  return reinterpret_cast<void*>(*start);
}

void* DeviceTape::refuse() noexcept {
  if (cold_ != nullptr) count(cold_->refused);
  return nullptr;
}

void DeviceTape::throw_full(std::size_t bytes) const {
  throw TapeFull(name(), bytes, used(), total());
}

void DeviceTape::raise_floor() noexcept {
  floor_.store(head_.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void DeviceTape::prepare(std::size_t bytes) {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  if (bytes > end_ - head) throw_full(bytes);
  commit_to(round_up(head + bytes, kDeviceLine));
}

void DeviceTape::grow_to(std::size_t bytes) {
  if (bytes > total()) throw_full(bytes);
  commit_to(round_up(base_ + bytes, kDeviceLine));
}

void DeviceTape::commit_to(std::uintptr_t end) {
  if (end <= limit_.load(std::memory_order_relaxed)) return;
  if (sealed_) {
    throw InvalidArgument("tape " + name() + " is sealed, and would have to grow",
                          "prepare all that is needed before seal()");
  }
  cold_->block.commit(end - internal::address_of(cold_->block.data()));
  count(cold_->grows);
  note_commit();
}

void DeviceTape::note_commit() noexcept {
  const DeviceBlock& block = cold_->block;
  if (block.size() == 0) return;
  const std::uintptr_t committed = internal::address_of(block.data()) + block.committed();
  const std::uintptr_t floor = floor_.load(std::memory_order_relaxed);
  limit_.store(std::clamp(round_down(committed, kDeviceLine), floor, end_),
               std::memory_order_relaxed);
}

std::size_t DeviceTape::trim(EventHandle after) {
  if (sealed_) {
    throw InvalidArgument("tape " + name() + " is sealed, and keeps its pages",
                          "graphs may have been captured over them");
  }
  if (cold_ == nullptr || cold_->block.size() == 0) return 0;
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const std::size_t given_back =
      cold_->block.decommit(head - internal::address_of(cold_->block.data()), after);
  note_commit();
  return given_back;
}

std::size_t DeviceTape::committed() const noexcept {
  const std::size_t reach = limit_.load(std::memory_order_relaxed) - base_;
  return cold_ == nullptr ? reach : reach - cold_->uncommitted.load(std::memory_order_relaxed);
}

const std::string& DeviceTape::name() const noexcept {
  static const std::string none = "none";
  return cold_ == nullptr ? none : cold_->options.name;
}

const DeviceBlock& DeviceTape::block() const noexcept {
  static const DeviceBlock none;
  return cold_ == nullptr ? none : cold_->block;
}

TapeStat DeviceTape::stat() const noexcept {
  TapeStat stat = {.reserved = total(),
                   .committed = committed(),
                   .used = used(),
                   .peak = peak(),
                   .planned = floor(),
                   .clears = clears()};
  if (cold_ == nullptr) return stat;
  stat.refused = cold_->refused.load(std::memory_order_relaxed);
  stat.grows = cold_->grows.load(std::memory_order_relaxed);
  stat.page_size = cold_->block.page_bytes();
  return stat;
}

TAPEDECK_ABI_END
}  // namespace tapedeck
