/// @file
/// The planned regions of one talk's history: how they fill, side by side, as the talk grows.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How many tokens a talk holds and has room for, and how much of each of its regions is committed.
/// Thread-safety: the history's writer; `tokens` is for readers too.
class TalkRegions {
 public:
  /// Over a tape all of which is committed. The tape outlives this object, here and below.
  TalkRegions(const TapePlan& plan, Tape& tape);

  /// Over reserved addresses in which nothing is committed: each region becomes a part of them, and
  /// grows by at least `step` tokens at a time. `reserved` outlives this object.
  TalkRegions(const TapePlan& plan, Tape& tape, Block& reserved, std::uint64_t step);

  ~TalkRegions();
  TalkRegions(const TalkRegions&) = delete;
  TalkRegions& operator=(const TalkRegions&) = delete;

  /// Commits the regions that do not grow. @throws SystemError.
  void commit_fixed();

  [[nodiscard]] std::uint64_t tokens() const noexcept {
    return tokens_.load(std::memory_order_relaxed);
  }

  // As the functions of `Layout`.
  void prepare(std::uint64_t tokens);
  std::uint64_t advance(std::uint64_t tokens);
  void rewind(std::uint64_t tokens, bool wipe) noexcept;
  void clear(bool wipe) noexcept;
  [[nodiscard]] WarmResult warm(const WarmOptions& options);
  std::size_t decommit() noexcept;

 private:
  struct Cursor {
    std::byte* at;
    std::size_t bytes;
    Growth growth;
    Block part;  // none where the tape has committed everything

    [[nodiscard]] bool grows() const noexcept { return growth.bytes_per_token != 0; }
    [[nodiscard]] std::size_t filled(std::uint64_t tokens) const noexcept;
  };

  TalkRegions(const TapePlan& plan, Tape& tape, Block* reserved, std::uint64_t step);
  void commit(std::uint64_t tokens);
  void note_committed(bool grew) noexcept;
  void give_back(std::uint64_t keep, bool wipe) noexcept;
  [[noreturn]] void refuse(std::uint64_t tokens) const;

  Tape& tape_;
  std::vector<Cursor> cursors_;
  std::uint64_t step_;
  std::uint64_t capacity_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t prepared_ = 0;
  std::uint64_t most_ = 0;  // tokens that were ever held at a time
  std::atomic<std::uint64_t> tokens_{0};
};

}  // namespace tapedeck::inline TAPEDECK_ABI
