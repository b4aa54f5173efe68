// SPDX-License-Identifier: Apache-2.0
// One tape and one loop: what a forward pass takes is released in one step. This program needs
// neither exceptions nor RTTI.

#include <cstddef>
#include <cstdio>
#include <span>
#include <tapedeck/memory/tape.hpp>

using namespace tapedeck;

int main() {
  constexpr std::size_t kLayers = 28;
  constexpr std::size_t kHidden = 1536;

  Tape scratch = Tape::start(1_MiB, {.name = "scratch"});
  float sum = 0.0F;
  for (int token = 0; token < 1000; ++token) {
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      const std::span<float> hidden = scratch.try_take<float>(kHidden);
      if (hidden.empty()) {
        std::fprintf(stderr, "scratch is full: %zu of %zu bytes are used\n", scratch.used(),
                     scratch.total());
        return 1;
      }
      hidden[layer] = static_cast<float>(token);
      sum += hidden[layer];
    }
    scratch.clear();  // after every token: one store, and no address changes
  }

  std::printf("sum %g; the largest pass took %zu of %zu bytes\n", static_cast<double>(sum),
              scratch.peak(), scratch.total());
  return 0;
}
