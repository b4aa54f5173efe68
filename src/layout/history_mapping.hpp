// SPDX-License-Identifier: Apache-2.0
/// @file
/// `HistoryMapping`: the histories of all talks of the host in one mapping, in which growth is a
/// claim on memory and makes no system call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "layout/talk_pages.hpp"
#include "layout/talk_region.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// All of it is usable from the start, but no page exists and none is paid for: the mapping is
/// made with MAP_NORESERVE, and a talk claims the pages of its tokens from the process's ledger.
/// The mapping does not use huge pages, because one of them could cover rows that are not claimed,
/// until a region has claimed all of one.
///
/// Thread-safety: const after construction, except for the talks' pages, which say so themselves.
class HistoryMapping {
 public:
  struct Setup {
    const TapePlan& plan;
    std::uint64_t talks;
    const TapeOptions& options;
    bool resident = false;  ///< Whether growth makes the pages resident.
  };

  /// Returns nullptr if the options or the host need pages that are committed region by region.
  /// @param refusal  is set to errno if the host refused, or if the pages must be locked.
  [[nodiscard]] static std::unique_ptr<HistoryMapping> create(const Setup& setup, int& refusal);

  [[nodiscard]] std::byte* at(std::size_t talk) const noexcept {
    return block_.data() + talk * bytes_per_talk_;
  }
  /// The pages of one talk, of which it has none yet. This object and `regions` must outlive them.
  [[nodiscard]] std::unique_ptr<TalkPages> pages_of(std::size_t talk, const TalkRegions& regions);

 private:
  class Pages;

  HistoryMapping(Block block, std::size_t bytes_per_talk, const Setup& setup);

  Block block_;
  std::size_t bytes_per_talk_;
  std::string purpose_;  // of claims, for errors
  bool overcommit_;
  bool resident_;
  bool new_on_fork_;
  WishErrors unmet_{};
  std::size_t huge_page_ = 0;              // 0: none are used
  std::atomic<std::size_t> huge_runs_{0};  // regions that use huge pages
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
