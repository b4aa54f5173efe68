// SPDX-License-Identifier: Apache-2.0
/// @file
/// The regions that each talk of a side has, and how many of their bytes a number of tokens fills.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Where a region of a talk is, and how it grows.
struct TalkRegion {
  std::size_t offset;
  std::size_t bytes;
  Growth growth;

  [[nodiscard]] bool grows() const noexcept { return growth.bytes_per_token != 0; }
  /// The bytes that the tokens fill. A windowed region is a ring: once full, it stays full.
  [[nodiscard]] std::size_t needs(std::uint64_t tokens) const noexcept {
    return grows() ? std::min(tokens, growth.capacity) * growth.bytes_per_token : bytes;
  }
};

/// The regions that have bytes, of every talk of a side. Thread-safety: const after construction.
class TalkRegions {
 public:
  TalkRegions() = default;
  explicit TalkRegions(const TapePlan& plan) {
    for (const Region& region : plan.regions()) {
      if (region.bytes != 0) add(region);
    }
  }

  [[nodiscard]] auto begin() const noexcept { return all_.begin(); }
  [[nodiscard]] auto end() const noexcept { return all_.end(); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

  /// The tokens that a talk may hold. The cache of a full context limits it. The cache of a window
  /// is a ring and does not.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

  /// The bytes that `tokens` fill in all regions. Regions that do not grow are in use from the
  /// first token on. O(different capacities).
  [[nodiscard]] std::uint64_t filled(std::uint64_t tokens) const noexcept {
    std::uint64_t bytes = tokens == 0 ? 0 : fixed_;
    for (const Growth& rate : rates_) {
      bytes += std::min(tokens, rate.capacity) * rate.bytes_per_token;
    }
    return bytes;
  }

  /// Bytes of the whole pages that hold `tokens`, and all of the regions that do not grow.
  [[nodiscard]] std::size_t pages(std::uint64_t tokens, std::size_t page) const noexcept {
    std::size_t bytes = 0;
    for (const TalkRegion& one : all_) bytes += round_up(one.needs(tokens), page);
    return bytes;
  }

  /// Calls `rows_do(from, to)` with the address range of the tokens in each region that grows.
  void each_row_range(std::uintptr_t at, std::uint64_t first, std::uint64_t end,
                      auto rows_do) const {
    for (const TalkRegion& one : all_) {
      if (!one.grows()) continue;
      rows_do(at + one.offset + one.needs(first), at + one.offset + one.needs(end));
    }
  }
  void unpoison(std::uintptr_t at, std::uint64_t first, std::uint64_t end) const noexcept {
    each_row_range(at, first, end, [](std::uintptr_t from, std::uintptr_t to) {
      checking::unpoison(from, to - from);
    });
  }
  void poison(std::uintptr_t at, std::uint64_t first, std::uint64_t end) const noexcept {
    each_row_range(at, first, end, [](std::uintptr_t from, std::uintptr_t to) {
      checking::poison(from, to - from);
    });
  }

 private:
  void add(const Region& region) {
    all_.push_back({.offset = region.offset, .bytes = region.bytes, .growth = region.growth});
    if (region.growth.bytes_per_token == 0) {
      fixed_ += region.bytes;
      return;
    }
    if (region.role == RegionRole::kv) capacity_ = std::min(capacity_, region.growth.capacity);
    const auto same = [&](const Growth& one) { return one.capacity == region.growth.capacity; };
    const auto rate = std::find_if(rates_.begin(), rates_.end(), same);
    if (rate == rates_.end()) {
      rates_.push_back(region.growth);
    } else {
      rate->bytes_per_token += region.growth.bytes_per_token;
    }
  }

  std::vector<TalkRegion> all_;
  std::vector<Growth> rates_;  // the sum of the regions that grow, for each capacity
  std::uint64_t fixed_ = 0;    // bytes of regions that do not grow
  std::uint64_t capacity_ = std::numeric_limits<std::uint64_t>::max();
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
