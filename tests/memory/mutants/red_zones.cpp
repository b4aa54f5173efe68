// SPDX-License-Identifier: Apache-2.0
// Runs under AddressSanitizer or memcheck, in a build with red zones. The argument names a bug that
// must be reported: an access to the byte behind a take that fills its lines. "none" must be clean.

#include <cstddef>
#include <string_view>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace {

using namespace tapedeck;

void touch(const volatile std::byte* at) { static_cast<void>(*at); }

std::byte* filled(void* at, std::size_t bytes) {
  auto* const to = static_cast<std::byte*>(at);
  for (std::size_t i = 0; i < bytes; ++i) to[i] = std::byte{1};
  return to;
}

// Takes of all kinds, each used completely; they neither overlap nor lose their contents.
int none(Tape& tape, SharedTape& shared) {
  for (int pass = 0; pass < 3; ++pass) {
    const std::byte* wide = filled(tape.take(128), 128);
    const std::byte* packed = filled(tape.take(8, 8), 8);
    const std::byte* aligned = filled(tape.take(64, 4096), 64);
    const std::byte* many = filled(shared.take(64), 64);
    if (packed < wide + 128 + kLine || aligned < packed + 8 + kLine) return 3;
    if (tape.try_take(1_MiB) != nullptr || tape.try_take(~std::size_t{0}) != nullptr) return 4;
    if (shared.try_take(~std::size_t{0}) != nullptr) return 5;
    touch(many + 63);
    tape.clear();
    shared.clear();
  }
  return 0;
}

}  // namespace

int main(int, char** arguments) {
  const std::string_view bug = arguments[1];
  Tape tape = Tape::start(1_MiB);
  SharedTape shared = SharedTape::start(1_MiB);
  if (bug == "none") return none(tape, shared);
  const std::byte* at = nullptr;
  if (bug == "wide") at = filled(tape.take(128), 128) + 128;
  if (bug == "packed") at = filled(tape.take(8, 8), 8) + 8;
  if (bug == "aligned") at = filled(tape.take(64, 4096), 64) + 64;
  if (bug == "shared") at = filled(shared.take(64), 64) + 64;
  if (at == nullptr) return 2;
  (void)tape.take(64);
  (void)tape.take(8, 8);
  (void)shared.take(64);
  touch(at);
  return 0;
}
