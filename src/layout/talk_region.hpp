// SPDX-License-Identifier: Apache-2.0
/// @file
/// The regions of one talk, and how many of their bytes a number of tokens fills.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "memory/tape_parts.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Where a region of a talk is, how it grows, and its pages.
template <class Block>
struct TalkRegion {
  std::byte* at;
  std::size_t bytes;
  Growth growth;
  Block part;  ///< Empty if the tape has committed everything.

  [[nodiscard]] bool grows() const noexcept { return growth.bytes_per_token != 0; }
  [[nodiscard]] bool is_part() const noexcept { return part.size() != 0; }
  /// The bytes that the tokens fill. A windowed region is a ring: once full, it stays full.
  [[nodiscard]] std::size_t needs(std::uint64_t tokens) const noexcept {
    return grows() ? std::min(tokens, growth.capacity) * growth.bytes_per_token : bytes;
  }
};

/// The regions of one talk that have bytes. Thread-safety: as `TalkCore`.
template <class Block>
class TalkRegions {
 public:
  void add(TalkRegion<Block> region) {
    all_.push_back(std::move(region));
    const TalkRegion<Block>& added = all_.back();
    if (!added.grows()) {
      fixed_ += added.bytes;
      return;
    }
    const auto same = [&](const Growth& one) { return one.capacity == added.growth.capacity; };
    const auto rate = std::find_if(rates_.begin(), rates_.end(), same);
    if (rate == rates_.end()) {
      rates_.push_back(added.growth);
    } else {
      rate->bytes_per_token += added.growth.bytes_per_token;
    }
  }

  [[nodiscard]] auto begin() noexcept { return all_.begin(); }
  [[nodiscard]] auto end() noexcept { return all_.end(); }
  [[nodiscard]] auto begin() const noexcept { return all_.begin(); }
  [[nodiscard]] auto end() const noexcept { return all_.end(); }

  /// The bytes that `tokens` fill in all regions. Regions that do not grow are in use from the
  /// first token on. O(different capacities).
  [[nodiscard]] std::uint64_t filled(std::uint64_t tokens) const noexcept {
    std::uint64_t bytes = tokens == 0 ? 0 : fixed_;
    for (const Growth& rate : rates_) {
      bytes += std::min(tokens, rate.capacity) * rate.bytes_per_token;
    }
    return bytes;
  }

  /// Bytes of pages committed.
  [[nodiscard]] std::size_t pages() const noexcept {
    std::size_t bytes = 0;
    for (const TalkRegion<Block>& one : all_) bytes += one.part.committed();
    return bytes;
  }

  /// Bytes of pages still missing to hold the first `tokens`.
  [[nodiscard]] std::size_t missing(std::uint64_t tokens, std::size_t page) const noexcept {
    std::size_t bytes = 0;
    for (const TalkRegion<Block>& one : all_) {
      if (!one.is_part()) continue;
      const std::size_t whole = round_up(one.needs(tokens), page);
      bytes += whole - std::min(whole, one.part.committed());
    }
    return bytes;
  }

  /// Calls `rows_do(from, to)` with the address range of the tokens in each region that grows.
  void each_row_range(std::uint64_t first, std::uint64_t end, auto rows_do) const {
    for (const TalkRegion<Block>& one : all_) {
      if (!one.grows()) continue;
      rows_do(address_of(one.at) + one.needs(first), address_of(one.at) + one.needs(end));
    }
  }
  void unpoison(std::uint64_t first, std::uint64_t end) const noexcept {
    each_row_range(first, end, [](std::uintptr_t from, std::uintptr_t to) {
      checking::unpoison(from, to - from);
    });
  }
  void poison(std::uint64_t first, std::uint64_t end) const noexcept {
    each_row_range(first, end, [](std::uintptr_t from, std::uintptr_t to) {
      checking::poison(from, to - from);
    });
  }

 private:
  std::vector<TalkRegion<Block>> all_;
  std::vector<Growth> rates_;  // the sum of the regions that grow, for each capacity
  std::uint64_t fixed_ = 0;    // bytes of regions that do not grow
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
