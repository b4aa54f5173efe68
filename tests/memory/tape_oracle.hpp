// SPDX-License-Identifier: Apache-2.0
/// @file
/// Predicts the state of a tape from a plain list of what was taken from it, without a bump
/// pointer, lines or a limit. The tape must always agree with this list.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "memory/pattern.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {

/// The tape and the oracle disagree.
class Disagreement : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

inline void require(bool holds, const char* what) {
  if (!holds) throw Disagreement(what);
}

template <class Number>
void require_equal(Number is, Number must_be, const char* what) {
  if (is != must_be) {
    throw Disagreement(std::string(what) + " is " + std::to_string(is) + ", must be " +
                       std::to_string(must_be));
  }
}

class TapeOracle {
 public:
  struct Mark {
    std::uint64_t order;  ///< The number of the first take after the mark.
    std::size_t used;
    std::uint64_t clears;
    std::uint64_t grows;
    bool rewound_over = false;  ///< The tape was rewound to an older mark since.
  };

  TapeOracle(const std::byte* base, std::size_t total)
      : base_(reinterpret_cast<std::uintptr_t>(base)), end_(base_ + total) {}

  /// Whether a take that begins on a new line must succeed.
  [[nodiscard]] bool has_room(std::size_t bytes, std::size_t align) const {
    const std::uintptr_t start = round_up(base_ + used(), std::max(align, kLine));
    return start <= end_ && bytes <= end_ - start;
  }

  /// Records that the tape returned `at`, and fills the bytes. `spilled` is whether they are in a
  /// block of the source.
  void took(void* at, std::size_t bytes, std::size_t align, bool spilled) {
    const auto from = reinterpret_cast<std::uintptr_t>(at);
    require(at != nullptr && (from & (align - 1)) == 0, "the alignment is wrong");
    if (bytes == 0) return;
    require(spilled ? !has_room(bytes, align) : from >= base_ && from + bytes <= end_,
            spilled ? "it was spilled though there is room" : "it lies outside the tape");
    for (const Taken& other : taken_) {
      require(from + bytes <= other.at || other.at + other.bytes <= from, "two takes overlap");
    }
    if (spilled) {
      ++spills_;
      spilled_ += bytes;
      spilled_peak_ = std::max(spilled_peak_, spilled_);
    }
    Pattern(next_).write(at, bytes);
    taken_.push_back({.at = from, .bytes = bytes, .order = next_, .spilled = spilled});
    ++next_;
    peak_ = std::max(peak_, used());
    recent_peak_ = std::max(recent_peak_, used());
  }

  void refused(std::size_t bytes, std::size_t align, bool could_spill) {
    require(!could_spill, "it was refused though the source has some");
    require(!has_room(bytes, align), "it was refused though there is room");
    ++refused_;
  }

  void grew() { ++grows_; }

  [[nodiscard]] Mark mark() const {
    return {.order = next_, .used = used(), .clears = clears_, .grows = grows_};
  }

  /// Whether rewinding to the mark does nothing.
  [[nodiscard]] bool is_stale(const Mark& mark) const {
    return mark.clears != clears_ || mark.used < floor_ || mark.used > used();
  }

  /// Checks that the released bytes are unchanged. Returns the number of spilled blocks released.
  std::size_t rewind(const Mark& mark) {
    if (is_stale(mark)) return 0;
    return give_back([&](const Taken& one) { return one.order >= mark.order; });
  }

  void clear() {
    give_back([](const Taken&) { return true; });
    ++clears_;
  }

  void restart_peak() { recent_peak_ = used(); }

  void raise_floor() {
    for (Taken& one : taken_) one.stays = !one.spilled;
    floor_ = used();
  }

  /// Checks that every byte that is taken is as it was written.
  void verify() const {
    for (const Taken& one : taken_) verify(one);
  }

  /// The head is after the last byte taken, on a line; nothing below the floor is ever released.
  [[nodiscard]] std::size_t used() const {
    std::uintptr_t head = base_ + floor_;
    for (const Taken& one : taken_) {
      if (!one.spilled) head = std::max(head, round_up(one.at + one.bytes, kLine));
    }
    return head - base_;
  }
  [[nodiscard]] std::uint64_t clears() const { return clears_; }
  [[nodiscard]] std::uint64_t grows() const { return grows_; }

  void agrees_with(const Tape& tape) const {
    const TapeStat stat = tape.stat();
    require_equal(tape.used(), used(), "used");
    require_equal(tape.free(), end_ - base_ - used(), "free");
    require_equal(tape.peak(), peak_, "peak");
    require_equal(tape.recent_peak(), recent_peak_, "recent_peak");
    require_equal(tape.floor(), floor_, "floor");
    require_equal(stat.used, std::uint64_t{used()}, "stat().used");
    require_equal(stat.peak, std::uint64_t{peak_}, "stat().peak");
    require_equal(stat.planned, std::uint64_t{floor_}, "stat().planned");
    require_equal(stat.clears, clears_, "stat().clears");
    require_equal(stat.refused, refused_, "stat().refused");
    require_equal(stat.spills, spills_, "stat().spills");
    require_equal(stat.spilled, std::uint64_t{spilled_}, "stat().spilled");
    require_equal(stat.spilled_peak, std::uint64_t{spilled_peak_}, "stat().spilled_peak");
    require_equal(stat.grows, grows_, "stat().grows");
    require_equal(stat.committed, std::uint64_t{tape.committed()}, "stat().committed");
    require(tape.committed() >= used() && tape.committed() <= tape.total(), "committed is wrong");
  }

 private:
  struct Taken {
    std::uintptr_t at;
    std::size_t bytes;
    std::uint64_t order;
    bool spilled;
    bool stays = false;  // below the floor
  };

  static void verify(const Taken& one) {
    if (!Pattern(one.order).is_at(reinterpret_cast<const void*>(one.at), one.bytes)) {
      throw Disagreement("take " + std::to_string(one.order) + " lost its bytes");
    }
  }

  // Called before the tape releases the bytes, while they may still be read.
  template <class Which>
  std::size_t give_back(Which which) {
    std::size_t blocks = 0;
    std::erase_if(taken_, [&](const Taken& one) {
      if (one.stays || !which(one)) return false;
      verify(one);
      if (one.spilled) {
        spilled_ -= one.bytes;
        ++blocks;
      }
      return true;
    });
    return blocks;
  }

  std::uintptr_t base_;
  std::uintptr_t end_;
  std::vector<Taken> taken_;
  std::uint64_t next_ = 0;
  std::size_t floor_ = 0;
  std::size_t peak_ = 0;
  std::size_t recent_peak_ = 0;
  std::size_t spilled_ = 0;
  std::size_t spilled_peak_ = 0;
  std::uint64_t spills_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t grows_ = 0;
  std::uint64_t clears_ = 0;
};

}  // namespace tapedeck::tests
