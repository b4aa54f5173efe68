// SPDX-License-Identifier: Apache-2.0
// Runs the token trace N times, where N is the argument, so that callgrind can count instructions.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tapedeck/memory/tape.hpp"
#include "trace.hpp"

namespace {

using namespace tapedeck;

#if defined(TAPEDECK_TAKE_MUTANT)
std::atomic<std::uint64_t> takes{0};

// A take that also counts takes, which adds three instructions. The test must notice it.
void* take(Tape& tape, std::size_t bytes) {
  takes.store(takes.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return tape.try_take(bytes);
}
#else
void* take(Tape& tape, std::size_t bytes) { return tape.try_take(bytes); }
#endif

[[gnu::noinline]] void token(Tape& tape, std::span<const std::size_t> sizes) {
  for (const std::size_t bytes : sizes) trace::use(take(tape, bytes));
  tape.clear();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::vector<std::size_t> sizes = trace::bytes();
  Tape tape = Tape::start(trace::total());
  const long tokens = std::strtol(argv[1], nullptr, 10);
  for (long i = 0; i < tokens; ++i) token(tape, sizes);
  return tape.peak() == trace::total() ? 0 : 1;
}
