// SPDX-License-Identifier: Apache-2.0
// Runs under memcheck. The argument names the bug: "none" must be clean, and each of the others
// must be reported.

#include <cstddef>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"
#include "tapedeck/memory/tape_scope.hpp"

namespace {

using namespace tapedeck;

// Memcheck reports an access to inaccessible memory.
void touch(const volatile char* at) { static_cast<void>(*at); }

// Branches on the byte, because memcheck reports the use of undefined memory, but not its copy.
void use(const volatile char* at) {
  if (*at == 1) std::puts("1");
}

char* filled(void* at, std::size_t bytes) {
  auto* to = static_cast<char*>(at);
  for (std::size_t i = 0; i < bytes; ++i) to[i] = 1;
  return to;
}

// Everything that is allowed.
void none(Tape& /*tape*/) {
  std::vector<std::byte> memory(64_KiB);
  {
    Tape tape = Tape::over(Block::borrow(memory));
    for (int pass = 0; pass < 3; ++pass) {
      char* wide = filled(tape.take(1000), 1000);
      char* small = filled(tape.take(10, 1), 10);
      {
        const TapeScope scope(tape);
        use(filled(tape.take(10, 1), 10));
        use(filled(tape.take(100, 4096), 100));
      }
      use(wide + 999);
      use(small + 9);
      tape.clear();
    }
  }
  for (std::byte& one : memory) one = std::byte{2};  // the owner may use it again
  use(reinterpret_cast<char*>(memory.data()));
}

void clear(Tape& tape) {
  const char* at = filled(tape.take(100), 100);
  tape.clear();
  touch(at + 50);
}

void rewind(Tape& tape) {
  const Tape::Mark mark = tape.mark();
  const char* at = filled(tape.take(100), 100);
  tape.rewind(mark);
  touch(at);
}

void packed_rewind(Tape& tape) {
  (void)filled(tape.take(8, 8), 8);
  const Tape::Mark mark = tape.mark();
  const char* at = filled(tape.take(8, 8), 8);
  tape.rewind(mark);
  touch(at);
}

void scope(Tape& tape) {
  const char* at = nullptr;
  {
    const TapeScope inner(tape);
    at = filled(tape.take(100), 100);
  }
  touch(at + 99);
}

// In a second round, because memory that was never taken is not poisoned.
void overflow(Tape& tape) {
  (void)tape.take(4096);
  tape.clear();
  const char* at = filled(tape.take(100), 100);
  touch(at + 100);
}

void undefined(Tape& tape) {
  (void)filled(tape.take(100), 100);
  tape.clear();
  use(static_cast<const char*>(tape.take(100)));
}

void shared(Tape& /*tape*/) {
  SharedTape tape = SharedTape::start(64_KiB);
  const char* at = filled(tape.take(100), 100);
  tape.clear();
  touch(at);
}

constexpr std::pair<std::string_view, void (*)(Tape&)> kCases[] = {
    {"none", none},           {"clear", clear},
    {"rewind", rewind},       {"packed_rewind", packed_rewind},
    {"scope", scope},         {"overflow", overflow},
    {"undefined", undefined}, {"shared", shared}};

}  // namespace

int main(int argc, char** argv) {
  Tape tape = Tape::start(64_KiB);
  for (const auto& [name, run] : kCases) {
    if (argc != 2 || argv[1] != name) continue;
    run(tape);
    return 0;
  }
  return 2;
}
