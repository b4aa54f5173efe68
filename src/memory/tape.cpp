// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "memory/tape_parts.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

// Everything that a take, a clear and a rewind touch is in the first cache line of a tape.
struct TapeInternals {
  using Head = TapeHead<kLine>;
  static_assert(offsetof(Head, head_) == 0 && offsetof(Head, limit_) < offsetof(Head, end_));
  static_assert(sizeof(OpenLine) + offsetof(Head, end_) <= kLine);
};

template class BlockTape<kLine, Block, TapeOptions>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::internal {

void require_no_block_options(const TapeOptions& options) {
  const BlockOptions& block = options.block;
  const bool none =
      block.huge_pages == HugePages::transparent && !block.lock && !block.overcommit &&
      block.core_dump && !block.guard_pages && block.on_fork == OnFork::copy &&
      block.numa.policy == NumaPlacement::Policy::local && !block.on_commit && !block.on_decommit;
  if (none) return;
  throw InvalidArgument({.argument = "TapeOptions::block"},
                        "tape " + options.name +
                            " is made over a block that exists already, so options of the block "
                            "have no effect",
                        "pass them where the block is made");
}

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {
namespace checking = internal::checking;

Tape::Tape() noexcept = default;

Tape::Tape(Tape&& other) noexcept { swap(other); }

Tape::~Tape() {
  if (cold_ == nullptr) return;
  free_spilled(nullptr);
  cold_->children.clear();
  // The addresses may be reused for something else, and borrowed memory returns to its owner.
  const std::uintptr_t first = base_ + cold_->planned;
  const std::uintptr_t end = limit_.load();
  if ((on_give_back_ & kWipe) != 0 && cold_->block.writable()) {
    internal::overwrite(first, std::min(base_ + peak(), end), 0);
  }
  checking::unpoison(first, std::max(first, end) - first);
}

Tape Tape::start(std::size_t bytes, TapeOptions options) {
  options.block.name = "tape " + options.name;
  Block block = Block::reserve(bytes, std::exchange(options.block, {}));
  return over(std::move(block), std::move(options));
}

Tape Tape::start_warm(std::size_t bytes, TapeOptions options, const WarmOptions& warm) {
  if (options.commit_step != 0) {
    throw InvalidArgument(
        {.argument = "TapeOptions::commit_step", .value = options.commit_step, .limit = 0},
        "tape " + options.name + " starts warm, which commits everything at once",
        "leave commit_step at 0");
  }
  Tape tape = start(bytes, std::move(options));
  tape.warm(warm).or_throw("warming tape " + tape.name());
  return tape;
}

Tape Tape::over(Block block, TapeOptions options) {
  internal::require_no_block_options(options);
  Tape tape;
  if (block.writable() || block.size() == 0) {
    tape.lie_over_lines(block, options.name);
  } else {
    // A mapped file may end inside a line, but its last page extends past the end of that line.
    const std::uintptr_t base = internal::address_of(block.data());
    const std::uintptr_t end = round_up(base + block.size(), kLine);
    tape.lie_over(base, end, end);
  }
  tape.lay(std::move(block), std::move(options));
  return tape;
}

Tape Tape::behind(std::span<std::byte> planned, Block above, TapeOptions options) {
  internal::require_no_block_options(options);
  Tape tape;
  tape.lie_behind(planned, above, options.name);
  tape.lay(std::move(above), std::move(options));
  return tape;
}

void Tape::lay(Block block, TapeOptions options) {
  on_give_back_ = (options.wipe_on_clear ? kWipe : 0U) | (internal::kFillOnGiveBack ? kFill : 0U);
  const std::size_t step = options.commit_step == 0 ? block.size() : options.commit_step;
  block.commit(std::min(step, block.size()));
  hold(std::move(block), std::move(options));
}

void Tape::swap(Tape& other) noexcept {
  BlockTape::swap(other);
  std::swap(crumb_, other.crumb_);
  std::swap(on_give_back_, other.on_give_back_);
  std::swap(spilled_, other.spilled_);
}

// The rare takes: of zero bytes, beyond the committed end, at a wide alignment, or on a full tape.
void* Tape::take_slow(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  const std::uintptr_t start = start_behind(head_.load(std::memory_order_relaxed), bytes, align);
  const std::uintptr_t end = round_up(start + bytes, kLine);
  if (start == 0 || (!is_committed(end) && !grow(end))) return spill(bytes, align);
  if (align < kLine) crumb_ = start + bytes;
  head_.store(end, std::memory_order_relaxed);
  checking::unpoison(start, bytes);
  return reinterpret_cast<void*>(start);
}

// Also of packed takes, which then do not share a line.
void* Tape::take_with_red_zone(std::size_t bytes, std::size_t align) noexcept {
  watch_.on_write();
  const auto with_zone = checked_add(bytes, checking::kRedZone);
  if (bytes == 0 || !with_zone) return take_slow(bytes, align);
  void* at = take_slow(*with_zone, std::max(align, kLine));
  const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(at) + bytes;
  if (TapeHead::owns(at)) checking::poison(end, checking::kRedZone);
  return at;
}

bool Tape::grow(std::uintptr_t end) noexcept {
  constexpr std::size_t kDefaultStep = 2_MiB;  // one huge page
  const std::uintptr_t limit = limit_.load(std::memory_order_relaxed);
  const std::size_t asked_step = cold_->options.commit_step;
  const std::size_t step = asked_step == 0 ? kDefaultStep : asked_step;
  const std::uintptr_t next = limit + std::min<std::size_t>(step, end_ - limit);
  const std::uintptr_t first = internal::address_of(cold_->block.data());
  // Committing a whole step may fail even if committing just the take succeeds.
  if (!cold_->block.try_commit(std::max(end, next) - first) &&
      !cold_->block.try_commit(end - first)) {
    return false;
  }
  internal::increase(cold_->grows, std::uint64_t{1});
  note_commit();
  return true;
}

void Tape::clear_extras(std::uintptr_t floor, std::uintptr_t head) noexcept {
  overwrite_given_back(floor, head);
  free_spilled(nullptr);
  for (Tape& child : cold_->children) {
    child.hand_over();  // its worker is idle and writes again later
    child.clear();
    child.hand_over();
  }
}

void Tape::rewind_extras(std::uintptr_t to, std::uintptr_t crumb, const Spilled* keep,
                         std::uintptr_t head) noexcept {
  overwrite_given_back(to, head);
  overwrite_given_back(crumb, round_up(crumb, kLine));
  free_spilled(keep);
}

void Tape::overwrite_given_back(std::uintptr_t from, std::uintptr_t to) noexcept {
  if ((on_give_back_ & (kWipe | kFill)) == 0) return;
  internal::overwrite(from, to, (on_give_back_ & kWipe) != 0 ? 0 : internal::kGivenBack);
}

bool Tape::try_prepare(std::size_t bytes) noexcept {
  return internal::succeeds([&] { prepare(bytes); });
}

std::size_t Tape::decommit() noexcept { return BlockTape::decommit(); }

WarmResult Tape::warm(const WarmOptions& options) {
  if (cold_ == nullptr) return {.present = 0};
  WarmResult result = cold_->block.warm(0, cold_->block.committed(), options);
  note_commit();  // warming may have granted huge pages
  return result;
}

Residency Tape::residency() const {
  if (cold_ == nullptr) return {.present = 0, .huge = 0};
  return cold_->block.residency(0, cold_->block.committed());
}

std::span<Tape> Tape::split(std::size_t n) {
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  if (n == 0) {
    throw InvalidArgument({.argument = "n", .value = n, .limit = 1},
                          "tape " + name() + " cannot be split into 0 parts", "request at least 1");
  }
  if (!children().empty() || head != floor_.load(std::memory_order_relaxed)) {
    throw WrongState("tape " + name(), ObjectState::in_use,
                     "tape " + name() +
                         (children().empty() ? " has takes above its floor and cannot be split"
                                             : " is already split"),
                     "split a tape only once, while nothing is taken above its floor");
  }
  const std::size_t part = round_down((end_ - head) / n, kLine);
  if (part == 0)
    throw_full(checked_mul(n, kLine).value_or(std::numeric_limits<std::size_t>::max()));
  prepare(part * n);
  TapeOptions options = {
      .name = name(), .wipe_on_clear = cold_->options.wipe_on_clear, .spill = cold_->options.spill};
  std::vector<Tape> children;
  children.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    auto* first = reinterpret_cast<std::byte*>(head + i * part);
    children.push_back(over(Block::borrow({first, part}), options));
  }
  cold_->children = std::move(children);
  head_.store(head + part * n, std::memory_order_relaxed);
  raise_floor();
  on_give_back_ |= kChildren;
  return cold_->children;
}

std::span<Tape> Tape::children() noexcept {
  return cold_ == nullptr ? std::span<Tape>{} : std::span(cold_->children);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
