/// @file
/// The planned regions of one talk's history on the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/talk_cursors.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// How many tokens a talk holds and has room for, and how much of each of its regions is committed.
/// Thread-safety: the history's writer; `tokens` and `most` are for readers too.
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

  [[nodiscard]] std::uint64_t tokens() const noexcept { return cursors_.tokens(); }
  /// Tokens that were ever held at a time.
  [[nodiscard]] std::uint64_t most() const noexcept { return cursors_.most(); }

  // As the functions of `Layout`.
  void prepare(std::uint64_t tokens);
  std::uint64_t advance(std::uint64_t tokens);
  void rewind(std::uint64_t tokens, bool wipe) noexcept;
  void clear(bool wipe) noexcept;
  [[nodiscard]] WarmResult warm(const WarmOptions& options);
  std::size_t decommit() noexcept;

 private:
  using Cursor = TalkCursor<Block>;

  void note_committed(bool grew) noexcept;
  void give_back(std::uint64_t keep, bool wipe) noexcept;

  Tape& tape_;
  TalkCursors<Block> cursors_;
};

}  // namespace tapedeck::internal
