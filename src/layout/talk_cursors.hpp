/// @file
/// How the planned regions of one talk fill, side by side, as it grows: what histories of the host
/// and of devices share.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// A region of a talk, and what is committed of it.
template <class AnyBlock>
struct TalkCursor {
  std::byte* at;
  std::size_t bytes;
  Growth growth;
  AnyBlock part;  ///< None where the tape has committed everything.

  [[nodiscard]] bool grows() const noexcept { return growth.bytes_per_token != 0; }
  /// A window's region goes round: it is full and stays so.
  [[nodiscard]] std::size_t filled(std::uint64_t tokens) const noexcept {
    return std::min(tokens, growth.capacity) * growth.bytes_per_token;
  }
};

/// How many tokens a talk holds and has room for. `AnyBlock` is `Block` or `DeviceBlock`.
/// Thread-safety: the history's writer; `tokens`, `most` and `prepared` are for readers too. What
/// commits and decommits may be another thread, one at a time.
template <class AnyBlock>
class TalkCursors {
 public:
  using Cursor = TalkCursor<AnyBlock>;

  /// @param base  where the tape of the plan begins.
  /// @param reserved  in which each region becomes a part; nullptr: all is committed.
  TalkCursors(const TapePlan& plan, std::byte* base, AnyBlock* reserved, std::uint64_t step,
              std::string name)
      : name_(std::move(name)), step_(std::max<std::uint64_t>(step, 1)) {
    cursors_.reserve(plan.regions().size());
    for (const Region& region : plan.regions()) {
      if (region.bytes == 0) continue;
      cursors_.push_back({.at = base + region.offset,
                          .bytes = region.bytes,
                          .growth = region.growth,
                          .part = reserved != nullptr ? part_of(*reserved, region) : AnyBlock()});
      // A full-context cache ends the talk; a window's goes round.
      if (region.role == RegionRole::kv && region.growth.bytes_per_token != 0) {
        capacity_ = std::min(capacity_, region.growth.capacity);
      }
    }
    if (reserved == nullptr) note_prepared(capacity_);
  }

  [[nodiscard]] std::span<Cursor> cursors() noexcept { return cursors_; }
  [[nodiscard]] std::span<const Cursor> cursors() const noexcept { return cursors_; }
  [[nodiscard]] std::uint64_t tokens() const noexcept {
    return tokens_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t prepared() const noexcept {
    return prepared_.load(std::memory_order_acquire);
  }
  /// Where the talk ends.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  /// Tokens that were ever held at a time.
  [[nodiscard]] std::uint64_t most() const noexcept {
    return most_.load(std::memory_order_relaxed);
  }

  /// Commits the regions that do not grow.
  void commit_fixed() {
    for (Cursor& cursor : cursors_) {
      if (!cursor.grows() && cursor.part.size() != 0) cursor.part.commit(cursor.bytes);
    }
  }

  /// Tokens held once there are so many more. @throws TapeFull beyond what is planned.
  [[nodiscard]] std::uint64_t after(std::uint64_t more) const {
    const std::optional<std::uint64_t> sum = checked_add(tokens(), more);
    if (!sum || *sum > capacity_) refuse(more);
    return *sum;
  }

  /// Makes room for the talk's first `tokens`; true where that took commits. On an error nothing
  /// changed. @pre tokens <= capacity()
  bool grow_to(std::uint64_t tokens) {
    if (tokens <= prepared()) return false;
    commit(tokens);
    return true;
  }

  /// Returns the position of the first of the `tokens`.
  std::uint64_t advance(std::uint64_t tokens) {
    const std::uint64_t first = this->tokens();
    if (tokens > prepared() - first) [[unlikely]]
      refuse(tokens);
    tokens_.store(first + tokens, std::memory_order_relaxed);
    if (first + tokens > most()) most_.store(first + tokens, std::memory_order_relaxed);
    return first;
  }

  /// @pre keep <= tokens()
  void keep(std::uint64_t keep) noexcept { tokens_.store(keep, std::memory_order_relaxed); }

  /// Gives back what is committed behind the tokens held. Returns bytes.
  std::size_t decommit() {
    std::size_t given_back = 0;
    bool parts = false;
    for (Cursor& cursor : cursors_) {
      if (!cursor.grows() || cursor.part.size() == 0) continue;
      parts = true;
      given_back += cursor.part.decommit(cursor.filled(tokens()));
    }
    if (parts) note_prepared(tokens());
    return given_back;
  }

  /// Tokens that are committed where `tokens` need room.
  [[nodiscard]] std::uint64_t in_steps(std::uint64_t tokens) const noexcept {
    const std::uint64_t steps = tokens / step_ + (tokens % step_ != 0 ? 1 : 0);
    return std::min(checked_mul(steps, step_).value_or(capacity_), capacity_);
  }

  [[nodiscard]] std::size_t committed() const noexcept {
    std::size_t bytes = 0;
    for (const Cursor& cursor : cursors_) bytes += std::min(cursor.part.committed(), cursor.bytes);
    return bytes;
  }

 private:
  // A device's parts are whole pages, which the plan was aligned to.
  static AnyBlock part_of(AnyBlock& reserved, const Region& region) {
    if constexpr (requires { reserved.page_bytes(); }) {
      return reserved.part(region.offset, round_up(region.bytes, reserved.page_bytes()));
    } else {
      return reserved.part(region.offset, region.bytes);
    }
  }

  // Release: who sees the room also sees the memory.
  void note_prepared(std::uint64_t tokens) noexcept {
    prepared_.store(tokens, std::memory_order_release);
  }

  void commit(std::uint64_t tokens) {
    const std::uint64_t whole = in_steps(tokens);
    OnFailure undo([&] {
      for (Cursor& cursor : cursors_) {
        if (cursor.grows()) cursor.part.decommit(cursor.filled(prepared()));
      }
    });
    for (Cursor& cursor : cursors_) {
      if (cursor.grows() && cursor.part.size() != 0) cursor.part.commit(cursor.filled(whole));
    }
    undo.completed();
    note_prepared(whole);
  }

  [[noreturn]] void refuse(std::uint64_t tokens) const {
    std::size_t bytes = 0;
    std::size_t held = 0;
    std::size_t total = 0;
    for (const Cursor& cursor : cursors_) {
      const auto more = checked_mul<std::size_t>(cursor.growth.bytes_per_token, tokens);
      bytes = more ? checked_add(bytes, *more).value_or(bytes) : bytes;
      held += cursor.grows() ? cursor.filled(this->tokens()) : cursor.bytes;
      total += cursor.bytes;
    }
    throw TapeFull(name_, bytes, held, total);
  }

  std::string name_;
  std::vector<Cursor> cursors_;
  std::uint64_t step_;
  std::uint64_t capacity_ = std::numeric_limits<std::uint64_t>::max();
  std::atomic<std::uint64_t> prepared_{0};
  std::atomic<std::uint64_t> most_{0};
  std::atomic<std::uint64_t> tokens_{0};
};

}  // namespace tapedeck::internal
