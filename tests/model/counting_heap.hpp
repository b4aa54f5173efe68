/// @file
/// What of the heap a piece of work needed at its peak: mallinfo2 is too coarse and a sanitizer has
/// its own heap, so operator new counts, in the one program that includes counting_heap.cpp.
#pragma once

#include <cstddef>
#include <functional>

namespace tapedeck::tests {

/// Bytes that operator new had given out at most, beyond those before.
[[nodiscard]] std::size_t peak_heap(const std::function<void()>& work);

}  // namespace tapedeck::tests
