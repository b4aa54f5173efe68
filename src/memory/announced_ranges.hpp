// SPDX-License-Identifier: Apache-2.0
/// @file
/// `AnnouncedRanges`: the ranges of a host or device block that its hooks were called with.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tapedeck::internal {

/// The ranges that `on_commit` has been called with and `on_decommit` has not, in the order of
/// their addresses.
class AnnouncedRanges {
 public:
  /// @throws whatever the hook throws; the range is then not announced.
  void add(const auto& hooks, std::span<std::byte> range) {
    ranges_.reserve(ranges_.size() + 1);  // nothing may fail after the hook was called
    if (hooks.on_commit) hooks.on_commit(range);
    ranges_.push_back(range);
  }

  /// Calls `on_decommit` for everything from `first` on, in reverse order of the announcements. The
  /// last range may lose only its end.
  void remove_from(const auto& hooks, const std::byte* first) noexcept {
    while (!ranges_.empty() && ranges_.back().data() + ranges_.back().size() > first) {
      std::span<std::byte>& range = ranges_.back();
      const std::size_t kept =
          range.data() < first ? static_cast<std::size_t>(first - range.data()) : 0;
      if (hooks.on_decommit) hooks.on_decommit(range.subspan(kept));
      range = range.first(kept);
      if (kept == 0) ranges_.pop_back();
    }
  }

 private:
  std::vector<std::span<std::byte>> ranges_;
};

}  // namespace tapedeck::internal
