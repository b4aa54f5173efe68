// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ChunkLoader`: brings in chunks by each `Way`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "os/ring.hpp"
#include "tapedeck/base/abi.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::internal {

/// Loads chunks for one thread. Several direct reads can be under way at once; every other chunk is
/// complete when `begin` returns.
class ChunkLoader {
 public:
  /// @param depth  how many direct reads may be under way at once; 0 waits for each.
  ChunkLoader(WeightsState& state, unsigned depth) : state_(state), depth_(depth) {}

  /// Begins to bring a chunk in. Returns true if it is complete already. @pre !full()
  /// @throws SystemError, FormatError
  [[nodiscard]] bool begin(const WeightsChunk& chunk);
  /// Waits for a chunk that was begun, and returns it. @pre under_way() != 0
  /// @throws SystemError, FormatError
  [[nodiscard]] WeightsChunk finish_one();

  [[nodiscard]] std::size_t under_way() const noexcept { return ring_ ? ring_->under_way() : 0; }
  [[nodiscard]] bool full() const noexcept { return under_way() != 0 && under_way() == depth_; }

 private:
  void map(const WeightsChunk& chunk);
  void read(const WeightsChunk& chunk, std::uint64_t from);
  [[nodiscard]] bool begin_direct(const WeightsChunk& chunk);
  void finish_direct(const WeightsChunk& chunk, std::size_t got, int error);
  [[nodiscard]] bool is_cached(const WeightsChunk& chunk) const;

  WeightsState& state_;
  unsigned depth_;
  std::unique_ptr<os::Ring> ring_;
  bool ring_refused_ = false;
};

}  // namespace tapedeck::internal
