// SPDX-License-Identifier: Apache-2.0
/// @file
/// `BlockTape`: what all kinds of tape, on host and device, have in common apart from their takes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape_head.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// A head over a block, with a name and statistics. Public members may run concurrently with the
/// writer. Each kind of tape builds its writer's operations from the protected members. The members
/// are instantiated in the library, once for each kind of tape.
template <std::size_t Line, class AnyBlock, class Options>
class BlockTape : public TapeHead<Line> {
 public:
  [[nodiscard]] const std::string& name() const noexcept;
  /// All statistics of the tape. Takes no lock and makes no system or driver call.
  [[nodiscard]] TapeStat stat() const noexcept;
  /// The underlying block, for example to read `unmet()` and `descriptor()`.
  [[nodiscard]] const AnyBlock& block() const noexcept;

 protected:
  struct Cold;

  BlockTape() noexcept;
  ~BlockTape();

  /// Covers the whole lines of a block. @throws InvalidArgument if the block has none.
  void lie_over_lines(const AnyBlock& block, const std::string& name);
  /// Covers `planned`, which stays below the floor. Takes begin in `above`, the block directly
  /// behind it, which may be empty. @throws InvalidArgument if `above` begins elsewhere.
  void lie_behind(std::span<std::byte> planned, const AnyBlock& above, const std::string& name);
  /// Stores the block that the tape covers.
  void hold(AnyBlock block, Options options);
  /// @pre neither tape is in use by another thread.
  void swap(BlockTape& other) noexcept;

  void prepare(std::size_t bytes);
  void take_planned(std::size_t bytes) noexcept;
  template <class... After>
  std::size_t decommit(After... after);
  void note_planned(std::size_t committed, bool grew) noexcept;
  void note_unmet(const std::array<std::int32_t, kWishes>& planned) noexcept;
  void note_commit() noexcept;

  std::unique_ptr<Cold> cold_;
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
