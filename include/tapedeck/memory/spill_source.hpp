/// @file
/// `SpillSource`: where the takes of a full tape go, if the engine wants that.
#pragma once

#include <cstddef>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Where a full tape gets blocks from. `mimalloc_spill()` (target `tapedeck::spill`) is the one to
/// use; engines with an allocator of their own derive from this.
///
/// Thread-safety: both calls come from the writer of the tape, so a source that serves several
/// tapes must be thread-safe, and a block may be given back on another thread than it was taken on.
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
  /// `bytes` at an address that is a multiple of `align`, a power of two; nullptr when it has none.
  virtual void* allocate(std::size_t bytes, std::size_t align) noexcept = 0;
  /// Takes back what `allocate` gave, with the same figures.
  virtual void deallocate(void* block, std::size_t bytes, std::size_t align) noexcept = 0;

 protected:
  ~SpillSource() = default;  // sources are never owned through this type
};

}  // namespace tapedeck::inline TAPEDECK_ABI
