// SPDX-License-Identifier: Apache-2.0
// A program that does not link tapedeck::heap_hook. Heap allocations must be reported as unknown.

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/pass_guard.hpp"

int main() {
  using namespace tapedeck;
  Layout layout({.weights = 1_MiB, .scratch = 1_MiB, .history = 1_MiB});
  const PassGuard guard(layout);
  const std::vector<int> numbers(1000, 7);
  layout.clear_pass();
  const bool unknown = !guard.last().heap_allocations && !guard.total().heap_allocations;
  if (!unknown) std::puts("heap allocations are reported, but not counted");
  return unknown && guard.passes() == 1 && numbers.back() == 7 ? EXIT_SUCCESS : EXIT_FAILURE;
}
