// SPDX-License-Identifier: Apache-2.0
/// @file
/// The implementation shared by all kinds of tape.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/block_tape.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_head.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::internal {

#ifdef NDEBUG
inline constexpr bool kFillOnGiveBack = false;
#else
inline constexpr bool kFillOnGiveBack = true;
#endif
inline constexpr int kGivenBack = 0xDD;

inline std::uintptr_t address_of(const std::byte* at) noexcept {
  return reinterpret_cast<std::uintptr_t>(at);
}

inline void overwrite(std::uintptr_t from, std::uintptr_t to, int value) noexcept {
  if (from == to) return;  // the range of an empty tape is not at a valid address
  // The padding between takes is still poisoned.
  checking::unpoison(from, to - from);
  std::memset(reinterpret_cast<void*>(from), value, to - from);
}

/// @throws InvalidArgument if the options ask for anything of a block.
void require_no_block_options(const TapeOptions& options);

/// The data of a tape other than its head; takes on the fast path do not touch it. The counters
/// have one writer and any number of readers.
template <std::size_t Line, class AnyBlock, class Options>
struct BlockTape<Line, AnyBlock, Options>::Cold {
  Cold(AnyBlock below, Options asked) : block(std::move(below)), options(std::move(asked)) {}

  AnyBlock block;
  Options options;
  std::size_t planned = 0;     // bytes in front of the block, which other code commits
  std::vector<Tape> children;  // of a host tape that was split
  std::atomic<std::uint64_t> spilled{0};
  std::atomic<std::uint64_t> spilled_peak{0};
  std::atomic<std::uint64_t> spills{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> grows{0};
  std::atomic<std::uint64_t> page_size{0};
  std::array<std::atomic<std::int32_t>, kWishes> unmet{};
  std::array<std::atomic<std::int32_t>, kWishes> unmet_planned{};
};

template <std::size_t Line, class AnyBlock, class Options>
BlockTape<Line, AnyBlock, Options>::BlockTape() noexcept = default;
template <std::size_t Line, class AnyBlock, class Options>
BlockTape<Line, AnyBlock, Options>::~BlockTape() = default;

template <std::size_t Line, class AnyBlock, class Options>
const std::string& BlockTape<Line, AnyBlock, Options>::name() const noexcept {
  static const std::string none = "none";
  return cold_ == nullptr ? none : cold_->options.name;
}

template <std::size_t Line, class AnyBlock, class Options>
const AnyBlock& BlockTape<Line, AnyBlock, Options>::block() const noexcept {
  static const AnyBlock none;
  return cold_ == nullptr ? none : cold_->block;
}

template <std::size_t Line, class AnyBlock, class Options>
TapeStat BlockTape<Line, AnyBlock, Options>::stat() const noexcept {
  TapeStat stat = {.reserved = this->total(),
                   .committed = this->committed(),
                   .used = this->used(),
                   .peak = this->peak(),
                   .planned = this->floor(),
                   .clears = this->clears()};
  if (cold_ == nullptr) return stat;
  stat.spilled = cold_->spilled.load(std::memory_order_relaxed);
  stat.spilled_peak = cold_->spilled_peak.load(std::memory_order_relaxed);
  stat.spills = cold_->spills.load(std::memory_order_relaxed);
  stat.refused = cold_->refused.load(std::memory_order_relaxed);
  stat.grows = cold_->grows.load(std::memory_order_relaxed);
  stat.page_size = cold_->page_size.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < kWishes; ++i) {
    const std::int32_t planned = cold_->unmet_planned[i].load(std::memory_order_relaxed);
    stat.unmet[i] = planned != 0 ? planned : cold_->unmet[i].load(std::memory_order_relaxed);
  }
  return stat;
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::lie_over_lines(const AnyBlock& block,
                                                        const std::string& name) {
  const std::uintptr_t first = address_of(block.data());
  const std::optional<std::uintptr_t> base = checked_round_up(first, Line);
  const std::uintptr_t end = round_down(first + block.size(), Line);
  if (block.size() == 0 || !base || end <= *base) {
    throw InvalidArgument({.argument = "block", .value = block.size(), .limit = Line},
                          "tape " + name + " cannot use a block of " + to_iec(block.size()) +
                              ", which does not contain a whole line of " + std::to_string(Line) +
                              " bytes",
                          "use a larger block");
  }
  this->lie_over(*base, *base, end);
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::lie_behind(std::span<std::byte> planned,
                                                    const AnyBlock& above,
                                                    const std::string& name) {
  std::byte* const planned_end = planned.data() + planned.size();
  if (above.size() != 0 && above.data() != planned_end) {
    throw InvalidArgument(
        {.argument = "above"},
        "the block of tape " + name + " does not begin where its planned bytes end",
        "pass the block directly behind them");
  }
  const std::uintptr_t floor = round_up(address_of(planned_end), Line);
  const std::uintptr_t end = round_down(address_of(planned_end) + above.size(), Line);
  this->lie_over(address_of(planned.data()), floor, std::max(floor, end));
  this->uncommitted_.store(this->floor(), std::memory_order_relaxed);
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::hold(AnyBlock block, Options options) {
  cold_ = std::make_unique<Cold>(std::move(block), std::move(options));
  cold_->planned = this->uncommitted_.load(std::memory_order_relaxed);
  this->watch_.watch(cold_->options.name.c_str());
  note_commit();
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::swap(BlockTape& other) noexcept {
  TapeHead<Line>::swap(other);
  std::swap(cold_, other.cold_);
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::prepare(std::size_t bytes) {
  this->watch_.on_write();
  const std::uintptr_t end = this->end_of_next(bytes);
  if (end == 0) TapeFull::raise(name(), bytes, this->used(), this->total(), this->floor());
  if (this->is_committed(end)) return;
  cold_->block.commit(end - address_of(cold_->block.data()));
  increase(cold_->grows, std::uint64_t{1});
  note_commit();
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::take_planned(std::size_t bytes) noexcept {
  this->watch_.on_write();
  const std::uintptr_t head = this->head_.load(std::memory_order_relaxed);
  assert(this->is_committed(head + bytes));
  if constexpr (requires(const AnyBlock& block) { block.unmet(); }) checking::unpoison(head, bytes);
  this->head_.store(round_up(head + bytes, Line), std::memory_order_relaxed);
  this->raise_floor();
}

template <std::size_t Line, class AnyBlock, class Options>
template <class... After>
std::size_t BlockTape<Line, AnyBlock, Options>::decommit(After... after) {
  this->watch_.on_write();
  if (cold_ == nullptr) return 0;
  const std::uintptr_t head = this->head_.load(std::memory_order_relaxed);
  const std::size_t given_back =
      cold_->block.decommit(head - address_of(cold_->block.data()), after...);
  note_commit();
  return given_back;
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::note_planned(std::size_t committed, bool grew) noexcept {
  const std::size_t planned = cold_->planned;
  this->uncommitted_.store(planned - std::min(committed, planned), std::memory_order_relaxed);
  if (grew) increase(cold_->grows, std::uint64_t{1});
}

template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::note_unmet(
    const std::array<std::int32_t, kWishes>& planned) noexcept {
  for (std::size_t i = 0; i < kWishes; ++i) {
    cold_->unmet_planned[i].store(planned[i], std::memory_order_relaxed);
  }
}

// Publishes the current state of the block to readers.
template <std::size_t Line, class AnyBlock, class Options>
void BlockTape<Line, AnyBlock, Options>::note_commit() noexcept {
  const AnyBlock& block = cold_->block;
  const std::uintptr_t before = this->limit_.load(std::memory_order_relaxed);
  if (block.size() != 0) this->commit_until(address_of(block.data()) + block.committed());
  if constexpr (requires { block.unmet(); }) {
    // Only memory of the host has marks. What is committed is poisoned until it is taken.
    const std::uintptr_t now = this->limit_.load(std::memory_order_relaxed);
    if (now > before) checking::poison(before, now - before);
    if (now < before) checking::unpoison(now, before - now);
    cold_->page_size.store(block.page_size(), std::memory_order_relaxed);
    std::array<std::int32_t, kWishes> errors{};
    for (const Unmet& one : block.unmet()) errors[static_cast<std::size_t>(one.wish)] = one.error;
    for (std::size_t i = 0; i < kWishes; ++i) {
      cold_->unmet[i].store(errors[i], std::memory_order_relaxed);
    }
  } else {
    cold_->page_size.store(block.page_bytes(), std::memory_order_relaxed);
  }
}

}  // namespace tapedeck::internal
