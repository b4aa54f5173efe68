// SPDX-License-Identifier: Apache-2.0
/// @file
/// Measures how much heap a function needs. mallinfo2 is too coarse, and a sanitizer has its own
/// heap, so operator new counts, in the one program that includes counting_heap.cpp.
#pragma once

#include <cstddef>
#include <functional>

namespace tapedeck::tests {

/// The bytes that operator new returned.
struct HeapUse {
  std::size_t peak = 0;   ///< The maximum at one time, beyond those allocated before.
  std::size_t total = 0;  ///< All together, including freed ones.
};
[[nodiscard]] HeapUse heap_use(const std::function<void()>& work);

}  // namespace tapedeck::tests
