// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/mimalloc_spill.hpp"

#include <mimalloc.h>

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

// mi_free finds the heap of a block from any thread, so this class needs no heap of its own.
class MimallocSpill final : public SpillSource {
 public:
  void* allocate(std::size_t bytes, std::size_t align) noexcept override {
    return mi_malloc_aligned(bytes, align);
  }
  void deallocate(void* block, std::size_t bytes, std::size_t align) noexcept override {
    mi_free_size_aligned(block, bytes, align);
  }
};

}  // namespace

SpillSource& mimalloc_spill() noexcept {
  static MimallocSpill source;
  return source;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
