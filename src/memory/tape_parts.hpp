/// @file
/// What the kinds of tape share behind their headers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/checking.hpp"

namespace tapedeck::internal {

#ifdef NDEBUG
inline constexpr bool kFillOnGiveBack = false;
#else
inline constexpr bool kFillOnGiveBack = true;
#endif
inline constexpr int kGivenBack = 0xDD;

inline std::uintptr_t address_of(const std::byte* at) noexcept {
  return reinterpret_cast<std::uintptr_t>(at);
}

inline void overwrite(std::uintptr_t from, std::uintptr_t to, int value) noexcept {
  if (from == to) return;  // an empty tape's range begins nowhere
  // Padding between takes is still poisoned.
  checking::unpoison(from, to - from);
  std::memset(reinterpret_cast<void*>(from), value, to - from);
}

// For tapes at rest.
template <class Number>
void swap_relaxed(std::atomic<Number>& a, std::atomic<Number>& b) noexcept {
  const Number before = a.load(std::memory_order_relaxed);
  a.store(b.load(std::memory_order_relaxed), std::memory_order_relaxed);
  b.store(before, std::memory_order_relaxed);
}

}  // namespace tapedeck::internal
