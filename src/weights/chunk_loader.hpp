/// @file
/// Brings chunks in, by each way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "os/ring.hpp"
#include "tapedeck/base/abi.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::internal {

/// One thread's: chunks that are read directly are under way several at a time, all others are
/// brought in at once.
class ChunkLoader {
 public:
  /// @param depth  how many direct reads are under way at a time; 0: none, each is waited for.
  ChunkLoader(WeightsState& state, unsigned depth) : state_(state), depth_(depth) {}

  /// Brings a chunk in, or begins to: true where it is there. @pre !full()
  /// @throws SystemError, FormatError
  [[nodiscard]] bool begin(const WeightsChunk& chunk);
  /// Waits for one that was begun. @pre under_way() != 0. @throws as `begin`
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
