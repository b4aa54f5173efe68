/// @file
/// `AnnouncedRanges`: what the hooks of a block know of it, on the host and on a device.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tapedeck::internal {

/// The ranges that `on_commit` was called with, and `on_decommit` not yet: by address, each behind
/// the one before.
class AnnouncedRanges {
 public:
  /// @throws whatever the hook throws, and the range is not announced.
  void add(const auto& hooks, std::span<std::byte> range) {
    ranges_.reserve(ranges_.size() + 1);  // nothing may fail once the hook was told
    if (hooks.on_commit) hooks.on_commit(range);
    ranges_.push_back(range);
  }

  /// Takes back what lies at `first` and behind: the newest first, as they were announced; the last
  /// may lose only its end.
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
