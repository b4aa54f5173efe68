// SPDX-License-Identifier: Apache-2.0
#include "model/counting_heap.hpp"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace tapedeck::tests {
namespace {

std::atomic<std::size_t> used{0};
std::atomic<std::size_t> peak{0};
std::atomic<std::size_t> total{0};  ///< All bytes ever allocated.

void* take(std::size_t bytes) noexcept {
  void* at = std::malloc(bytes == 0 ? 1 : bytes);
  if (at == nullptr) return nullptr;
  const std::size_t got = ::malloc_usable_size(at);
  total.fetch_add(got);
  const std::size_t now = used.fetch_add(got) + got;
  std::size_t before = peak.load();
  while (before < now && !peak.compare_exchange_weak(before, now)) {
  }
  return at;
}

void give(void* at) noexcept {
  if (at == nullptr) return;
  used.fetch_sub(::malloc_usable_size(at));
  std::free(at);
}

}  // namespace

HeapUse heap_use(const std::function<void()>& work) {
  const std::size_t used_before = used.load();
  const std::size_t total_before = total.load();
  peak.store(used_before);
  work();
  return {.peak = peak.load() - used_before, .total = total.load() - total_before};
}

}  // namespace tapedeck::tests

void* operator new(std::size_t bytes) {
  void* at = tapedeck::tests::take(bytes);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void* at) noexcept { tapedeck::tests::give(at); }
void operator delete[](void* at) noexcept { tapedeck::tests::give(at); }
void operator delete(void* at, std::size_t /*bytes*/) noexcept { tapedeck::tests::give(at); }
void operator delete[](void* at, std::size_t /*bytes*/) noexcept { tapedeck::tests::give(at); }
