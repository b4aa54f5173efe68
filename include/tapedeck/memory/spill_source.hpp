// SPDX-License-Identifier: Apache-2.0
/// @file
/// `SpillSource`: an optional source of memory for takes that do not fit on a full tape.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Where a full tape gets blocks from. Use `mimalloc_spill()` (target `tapedeck::spill`), or derive
/// from this class to use an engine's own allocator.
///
/// Thread-safety: both functions are called by the writer of the tape. A source that serves several
/// tapes must therefore be thread-safe. A block may be freed on another thread than the one that
/// allocated it.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// struct HeapSpill final : SpillSource {
///   void* allocate(std::size_t bytes, std::size_t align) noexcept override {
///     return ::operator new(bytes, std::align_val_t(align), std::nothrow);
///   }
///   void deallocate(void* block, std::size_t, std::size_t align) noexcept override {
///     ::operator delete(block, std::align_val_t(align));
///   }
/// };
/// HeapSpill heap;
/// Tape scratch = Tape::start(64_KiB, {.name = "scratch", .spill = &heap});
/// (void)scratch.take(1_MiB);  // larger than the tape: comes from the heap, until clear()
/// assert(scratch.stat().spills == 1);
/// @endcode
class SpillSource {
 public:
  /// Returns `bytes` at a multiple of `align`, a power of two, or nullptr if it has no memory left.
  virtual void* allocate(std::size_t bytes, std::size_t align) noexcept = 0;
  /// Frees a block from `allocate`; `bytes` and `align` are the values passed to that call.
  virtual void deallocate(void* block, std::size_t bytes, std::size_t align) noexcept = 0;
  /// Whether blocks that were freed stay in the source and serve only later calls of `allocate`, as
  /// in a pool. A checking tool then reports the use of such a block: of its bytes, the source may
  /// use only the first `align` itself, which is at least 64.
  [[nodiscard]] virtual bool keeps_memory() const noexcept { return false; }

 protected:
  ~SpillSource() = default;  // sources are never owned through this type
};

}  // namespace tapedeck::inline TAPEDECK_ABI
