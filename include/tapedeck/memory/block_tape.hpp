/// @file
/// `BlockTape`: what all kinds of tape have beside their takes, once for host and device.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape_head.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// A head over a block of some kind, with a name and with figures. What is public here may run
/// beside the writer; each kind of tape makes what its writer does from the protected part. Its
/// members are instantiated in the library, once for each kind.
template <std::size_t Line, class AnyBlock, class Options>
class BlockTape : public TapeHead<Line> {
 public:
  [[nodiscard]] const std::string& name() const noexcept;
  /// All figures at once: no system call, no call of a driver, no lock.
  [[nodiscard]] TapeStat stat() const noexcept;
  /// The block below, for its wishes and its descriptor.
  [[nodiscard]] const AnyBlock& block() const noexcept;

 protected:
  struct Cold;

  BlockTape() noexcept;
  ~BlockTape();

  /// Lies over the whole lines of a block. @throws InvalidArgument if there is none.
  void lie_over_lines(const AnyBlock& block, const std::string& name);
  /// Lies over `planned`, which stays, and takes begin in `above`, the block right behind it or
  /// none. @throws InvalidArgument if it begins elsewhere.
  void lie_behind(std::span<std::byte> planned, const AnyBlock& above, const std::string& name);
  /// Keeps the block that it lies over.
  void hold(AnyBlock block, Options options);
  /// @pre both are quiet.
  void swap(BlockTape& other) noexcept;

  void prepare(std::size_t bytes);
  template <class... After>
  std::size_t decommit(After... after);
  void note_planned(std::size_t committed, bool grew) noexcept;
  void note_commit() noexcept;

  std::unique_ptr<Cold> cold_;
};

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
