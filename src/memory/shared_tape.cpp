#include "tapedeck/memory/shared_tape.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace checking = internal::checking;

struct SharedTape::Cold {
  Cold(Block below, TapeOptions asked) : block(std::move(below)), options(std::move(asked)) {}

  Block block;
  TapeOptions options;
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> clears{0};
};

SharedTape::SharedTape() noexcept = default;

SharedTape::SharedTape(SharedTape&& other) noexcept { swap(other); }

SharedTape& SharedTape::operator=(SharedTape&& other) noexcept {
  if (this != &other) {
    SharedTape old;
    swap(old);  // old ends with what this tape had
    swap(other);
  }
  return *this;
}

SharedTape::~SharedTape() {
  if (cold_ == nullptr) return;
  // The addresses may serve somebody else next, and borrowed memory goes back to its owner.
  const std::uintptr_t most = base_ + peak();
  if (cold_->options.wipe_on_clear) internal::overwrite(base_, most, 0);
  checking::unpoison(base_, most - base_);
}

SharedTape SharedTape::start(std::size_t bytes, TapeOptions options) {
  Block block = Block::reserve(bytes, options.block);
  return over(std::move(block), std::move(options));
}

SharedTape SharedTape::over(Block block, TapeOptions options) {
  if (options.commit_step != 0 || options.spill != nullptr) {
    throw InvalidArgument("tape " + options.name + ": a shared tape neither grows nor spills",
                          "leave commit_step and spill out");
  }
  if (!block.writable()) {
    throw InvalidArgument("tape " + options.name + ": its block cannot be written");
  }
  const std::uintptr_t first = internal::address_of(block.data());
  SharedTape tape;
  tape.base_ = round_up(first, kLine);
  tape.end_ = round_down(first + block.size(), kLine);
  if (tape.end_ <= tape.base_) {
    throw InvalidArgument("tape " + options.name + ": a block of " + to_iec(block.size()) +
                          " has no whole 64-byte line");
  }
  block.commit(block.size());
  tape.peak_ = tape.base_;
  tape.head_ = tape.base_;
  tape.cold_ = std::make_unique<Cold>(std::move(block), std::move(options));
  return tape;
}

void SharedTape::swap(SharedTape& other) noexcept {
  internal::swap_relaxed(head_, other.head_);
  std::swap(base_, other.base_);
  std::swap(end_, other.end_);
  internal::swap_relaxed(peak_, other.peak_);
  std::swap(cold_, other.cold_);
}

void* SharedTape::try_take_aligned(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  std::uintptr_t head = head_.load(std::memory_order_relaxed);
  std::uintptr_t start = 0;
  do {
    const std::optional<std::uintptr_t> aligned = checked_round_up(head, align);
    if (!aligned || *aligned > end_ || bytes > end_ - *aligned) return refuse();
    start = *aligned;
  } while (!head_.compare_exchange_weak(head, round_up(start + bytes, kLine),
                                        std::memory_order_relaxed));
  checking::unpoison(start, bytes);
  return reinterpret_cast<void*>(start);
}

void* SharedTape::refuse() noexcept {
  if (cold_ != nullptr) cold_->refused.fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

void SharedTape::clear() noexcept {
  if (cold_ == nullptr) return;
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  peak_.store(std::max(head, peak_.load(std::memory_order_relaxed)), std::memory_order_relaxed);
  const bool wipe = cold_->options.wipe_on_clear;
  if (wipe || internal::kFillOnGiveBack)
    internal::overwrite(base_, head, wipe ? 0 : internal::kGivenBack);
  checking::poison(base_, head - base_);
  // Release, after the peak: a reader that sees the lower head also sees the peak it left.
  head_.store(base_, std::memory_order_release);
  cold_->clears.fetch_add(1, std::memory_order_relaxed);
}

const std::string& SharedTape::name() const noexcept {
  static const std::string none = "none";
  return cold_ == nullptr ? none : cold_->options.name;
}

const Block& SharedTape::block() const noexcept {
  static const Block none;
  return cold_ == nullptr ? none : cold_->block;
}

TapeStat SharedTape::stat() const noexcept {
  TapeStat stat = {.reserved = total(), .committed = committed(), .used = used(), .peak = peak()};
  if (cold_ == nullptr) return stat;
  stat.refused = cold_->refused.load(std::memory_order_relaxed);
  stat.clears = cold_->clears.load(std::memory_order_relaxed);
  stat.page_size = cold_->block.page_size();
  for (const Unmet& one : cold_->block.unmet()) {
    stat.unmet[static_cast<std::size_t>(one.wish)] = one.error;
  }
  return stat;
}

void SharedTape::throw_full(std::size_t bytes) const {
  throw TapeFull(name(), bytes, used(), total());
}

TAPEDECK_ABI_END
}  // namespace tapedeck
