// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TalkPages`: the pages of one talk's regions, which come and go with its tokens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "layout/talk_region.hpp"
#include "memory/warm_pages.hpp"
#include "os/resident_ledger.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block_options.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

using WishErrors = std::array<std::int32_t, kWishes>;

/// Thread-safety: one thread at a time.
class TalkPages {
 public:
  TalkPages() = default;
  TalkPages(const TalkPages&) = delete;
  TalkPages& operator=(const TalkPages&) = delete;
  virtual ~TalkPages() = default;

  /// Bytes of pages that the talk has.
  [[nodiscard]] virtual std::size_t committed() const noexcept = 0;
  /// As `committed`, without what the last page of a region has behind the region.
  [[nodiscard]] virtual std::size_t committed_in_regions() const noexcept = 0;
  /// Bytes of pages missing to hold the first `tokens`, and the regions that do not grow.
  [[nodiscard]] virtual std::size_t missing(std::uint64_t tokens) const noexcept = 0;

  /// Gets the pages that are missing. On an error, nothing is changed.
  virtual void grow_to(std::uint64_t tokens) = 0;
  /// Gives back the pages that do not hold the first `tokens` or a region that does not grow.
  /// Returns their bytes.
  virtual std::size_t shrink_to(std::uint64_t tokens) noexcept = 0;

  /// Adds the errors of the options that the host did not grant.
  virtual void note_unmet(WishErrors& errors) const = 0;
  /// Makes all pages of the host resident, one region after the other, and stops at the first that
  /// is not completed.
  [[nodiscard]] virtual WarmResult warm(const WarmOptions& options) = 0;
};

/// Adds the result of the next of several ranges.
inline void add_result(WarmResult& sum, WarmResult next) {
  next.asked += sum.asked;
  next.warmed += sum.warmed;
  next.present =
      next.present && sum.present ? std::optional(*next.present + *sum.present) : std::nullopt;
  sum = std::move(next);
}

/// Pages that are committed by a part of a reserved block for each region. What was not prepared is
/// inaccessible, and each growth makes system calls or driver calls for each region.
template <class Memory>
class PagesOfParts final : public TalkPages {
 public:
  using Block = typename Memory::Block;

  struct Setup {
    Block& reserved;
    const TalkRegions& regions;
    std::size_t page;         ///< Parts are committed in multiples of this many bytes.
    std::string name;         ///< Of the tape, for errors.
    int growth_refusal = 0;   ///< errno, if the host refused a `HistoryMapping`.
    bool overcommit = false;  ///< As `BlockOptions::overcommit`.
    bool resident = false;    ///< Whether growth makes the pages of the host resident.
  };

  /// What `setup` refers to must outlive this object.
  explicit PagesOfParts(Setup setup) : setup_(std::move(setup)) {
    parts_.reserve(setup_.regions.size());
    // On a device, a part is whole pages, because the plan has aligned each region to a page.
    for (const TalkRegion& one : setup_.regions) {
      parts_.push_back(setup_.reserved.part(
          one.offset, Memory::kWritable ? one.bytes : round_up(one.bytes, setup_.page)));
    }
  }

  [[nodiscard]] std::size_t committed() const noexcept override {
    std::size_t bytes = 0;
    for (const Block& part : parts_) bytes += part.committed();
    return bytes;
  }
  [[nodiscard]] std::size_t committed_in_regions() const noexcept override {
    std::size_t bytes = 0;
    each([&](const Block& part, const TalkRegion& region) {
      bytes += std::min(part.committed(), region.bytes);
    });
    return bytes;
  }
  [[nodiscard]] std::size_t missing(std::uint64_t tokens) const noexcept override {
    std::size_t bytes = 0;
    each([&](const Block& part, const TalkRegion& region) {
      const std::size_t whole = round_up(region.needs(tokens), setup_.page);
      bytes += whole - std::min(whole, part.committed());
    });
    return bytes;
  }

  void grow_to(std::uint64_t tokens) override {
    require_room(missing(tokens));
    OnFailure undo([&] {
      for (std::size_t i = 0; i < parts_.size(); ++i) parts_[i].decommit(needs(i, tokens_));
    });
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::size_t before = parts_[i].committed();
      parts_[i].commit(needs(i, tokens));
      if (setup_.resident) make_resident(parts_[i], before);
    }
    undo.completed();
    tokens_ = tokens;
  }

  std::size_t shrink_to(std::uint64_t tokens) noexcept override {
    std::size_t bytes = 0;
    each([&](Block& part, const TalkRegion& region) {
      if (region.grows()) bytes += part.decommit(region.needs(tokens));
    });
    if (tokens_) tokens_ = std::min(*tokens_, tokens);
    return bytes;
  }

  void note_unmet(WishErrors& errors) const override {
    if (setup_.growth_refusal != 0) {
      errors[static_cast<std::size_t>(Wish::growth)] = setup_.growth_refusal;
    }
    if constexpr (Memory::kWritable) {
      for (const Block& part : parts_) {
        for (const Unmet& one : part.unmet()) {
          errors[static_cast<std::size_t>(one.wish)] = one.error;
        }
      }
    }
  }

  [[nodiscard]] WarmResult warm([[maybe_unused]] const WarmOptions& options) override {
    WarmResult sum{.present = 0};
    if constexpr (Memory::kWritable) {
      for (Block& part : parts_) {
        if (!sum) break;
        if (part.committed() != 0) add_result(sum, part.warm(0, part.committed(), options));
      }
    }
    return sum;
  }

 private:
  void make_resident([[maybe_unused]] const Block& part, [[maybe_unused]] std::size_t before) {
    if constexpr (Memory::kWritable) {
      const std::size_t bytes = part.committed() - before;
      const PagesEnd end = populate_pages(std::span(part.data() + before, bytes));
      require_populated(end, bytes, "committing tape " + setup_.name);
    }
  }

  // A talk that cannot fit commits none of its regions, and the error has their sum.
  void require_room([[maybe_unused]] std::size_t bytes) const {
    if constexpr (Memory::kWritable) {
      if (setup_.overcommit) return;
      os::ResidentLedger::Claim whole;
      os::require_room(whole.add(bytes), bytes, "committing tape " + setup_.name,
                       "free some memory, or plan for less");
    }
  }

  [[nodiscard]] std::size_t needs(std::size_t part, std::optional<std::uint64_t> tokens) const {
    return tokens ? setup_.regions.begin()[static_cast<std::ptrdiff_t>(part)].needs(*tokens) : 0;
  }
  void each(auto part_do) {
    auto region = setup_.regions.begin();
    for (Block& part : parts_) part_do(part, *region++);
  }
  void each(auto part_do) const {
    auto region = setup_.regions.begin();
    for (const Block& part : parts_) part_do(part, *region++);
  }

  const Setup setup_;
  std::vector<Block> parts_;             // in the order of the regions
  std::optional<std::uint64_t> tokens_;  // that the pages hold; none before the first growth
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
