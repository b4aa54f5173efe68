// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/shared_tape.hpp"

#include <utility>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace checking = internal::checking;

SharedTape::SharedTape() noexcept = default;

SharedTape::SharedTape(SharedTape&& other) noexcept { swap(other); }

SharedTape::~SharedTape() {
  if (cold_ == nullptr) return;
  // The addresses may be reused for something else, and borrowed memory returns to its owner.
  if (cold_->options.wipe_on_clear) internal::overwrite(base_, base_ + peak(), 0);
  checking::unpoison(base_, end_ - base_);
}

SharedTape SharedTape::start(std::size_t bytes, TapeOptions options) {
  options.block.name = "tape " + options.name;
  Block block = Block::reserve(bytes, std::exchange(options.block, {}));
  return over(std::move(block), std::move(options));
}

SharedTape SharedTape::over(Block block, TapeOptions options) {
  internal::require_no_block_options(options);
  if (options.commit_step != 0 || options.spill != nullptr) {
    throw InvalidArgument(
        {.argument = options.commit_step != 0 ? "TapeOptions::commit_step" : "TapeOptions::spill"},
        "tape " + options.name + " has many writers, so it can neither grow nor spill",
        "do not set commit_step or spill");
  }
  if (!block.writable()) {
    throw InvalidArgument({.argument = "block"},
                          "the block of tape " + options.name + " is not writable",
                          "use writable memory");
  }
  SharedTape tape;
  tape.lie_over_lines(block, options.name);
  block.commit(block.size());
  tape.hold(std::move(block), std::move(options));
  return tape;
}

void* SharedTape::try_take_aligned(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  const auto with_zone = checked_add(bytes, checking::kRedZone);
  if (!with_zone) return count_refusal();
  std::uintptr_t head = head_.load(std::memory_order_relaxed);
  std::uintptr_t start = 0;
  do {
    start = start_behind(head, *with_zone, align);
    if (start == 0) return count_refusal();
  } while (!head_.compare_exchange_weak(head, round_up(start + *with_zone, kLine),
                                        std::memory_order_relaxed));
  checking::unpoison(start, bytes);
  return reinterpret_cast<void*>(start);
}

void* SharedTape::count_refusal() noexcept {
  if (cold_ != nullptr) cold_->refused.fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

void SharedTape::clear() noexcept {
  if (cold_ == nullptr) return;
  watch_.on_exclusive_write();
  const std::uintptr_t head = head_.load(std::memory_order_relaxed);
  const bool wipe = cold_->options.wipe_on_clear;
  if (wipe || internal::kFillOnGiveBack)
    internal::overwrite(base_, head, wipe ? 0 : internal::kGivenBack);
  checking::poison(base_, head - base_);
  TapeHead::clear(base_, head);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
