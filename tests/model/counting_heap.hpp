/// @file
/// What a piece of work needed of the heap: mallinfo2 is too coarse and a sanitizer has
/// its own heap, so operator new counts, in the one program that includes counting_heap.cpp.
#pragma once

#include <cstddef>
#include <functional>

namespace tapedeck::tests {

/// Bytes that operator new gave out.
struct HeapUse {
  std::size_t peak = 0;   ///< The most at one time, beyond those given out before.
  std::size_t total = 0;  ///< All together, those given back included.
};
[[nodiscard]] HeapUse heap_use(const std::function<void()>& work);

}  // namespace tapedeck::tests
