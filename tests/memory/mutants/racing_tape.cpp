// SPDX-License-Identifier: Apache-2.0
// A mutant: the tape's own header with plain integers in place of its atomics. ThreadSanitizer must
// report a data race; if it did not, its silence about the real tape would prove nothing.

#include <atomic>
#include <cstdio>

// Everything that the tape's header includes, so that only the tape itself is changed.
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/spill_source.hpp"
#include "tapedeck/memory/tape_full.hpp"
#include "tapedeck/memory/tape_stat.hpp"
#include "tapedeck/memory/typed_takes.hpp"

namespace std {  // NOLINT(cert-dcl58-cpp): where the header looks for it

template <class T>
class plain {
 public:
  plain() = default;
  constexpr plain(T value) noexcept : value_(value) {}
  T load(memory_order) const noexcept { return value_; }
  void store(T value, memory_order) noexcept { value_ = value; }

 private:
  T value_{};
};

}  // namespace std

#define atomic plain
#include "tapedeck/memory/tape.hpp"
#undef atomic

#include "memory/watched_tape.hpp"

int main() {
  using namespace tapedeck;
  Tape tape = Tape::start(64_KiB);
  for (const auto& wrong : tests::watch(tape, 2, 2000)) std::puts(wrong.c_str());
}
