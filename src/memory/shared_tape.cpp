#include "tapedeck/memory/shared_tape.hpp"

#include <utility>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace checking = internal::checking;

struct SharedTape::Cold : internal::TapeCold<Block, TapeOptions> {
  using TapeCold::TapeCold;
};

SharedTape::SharedTape() noexcept = default;

SharedTape::SharedTape(SharedTape&& other) noexcept { swap(other); }

SharedTape& SharedTape::operator=(SharedTape&& other) noexcept {
  SharedTape old(std::move(other));
  swap(old);  // old ends with what this tape had
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
    throw InvalidArgument(
        {.argument = options.commit_step != 0 ? "TapeOptions::commit_step" : "TapeOptions::spill"},
        "tape " + options.name + " has many writers, so it can neither grow nor spill",
        "leave commit_step and spill out");
  }
  if (!block.writable()) {
    throw InvalidArgument({.argument = "block"},
                          "the block of tape " + options.name + " cannot be written",
                          "use memory that can be written");
  }
  const std::uintptr_t first = internal::address_of(block.data());
  const std::uintptr_t base = round_up(first, kLine);
  const std::uintptr_t end = round_down(first + block.size(), kLine);
  if (end <= base) internal::throw_no_whole_line(options.name, block.size(), kLine);
  block.commit(block.size());
  SharedTape tape;
  tape.lie_over(base, base, end);
  tape.commit_until(end);
  tape.cold_ = std::make_unique<Cold>(std::move(block), std::move(options));
  internal::note_pages(*tape.cold_);
  return tape;
}

void SharedTape::swap(SharedTape& other) noexcept {
  TapeHead::swap(other);
  std::swap(cold_, other.cold_);
}

void* SharedTape::try_take_aligned(std::size_t bytes, std::size_t align) noexcept {
  if (bytes == 0) return reinterpret_cast<void*>(align);
  std::uintptr_t head = head_.load(std::memory_order_relaxed);
  std::uintptr_t start = 0;
  do {
    start = start_behind(head, bytes, align);
    if (start == 0) return count_refusal();
  } while (!head_.compare_exchange_weak(head, round_up(start + bytes, kLine),
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

const std::string& SharedTape::name() const noexcept { return internal::name_of(cold_.get()); }
const Block& SharedTape::block() const noexcept { return internal::block_of<Block>(cold_.get()); }
TapeStat SharedTape::stat() const noexcept { return internal::stat_of(*this, cold_.get()); }

}  // namespace tapedeck::inline TAPEDECK_ABI
