// SPDX-License-Identifier: Apache-2.0
/// @file
/// Every kind of tape, each named "kind" and about `kKindBytes` large, for suites that run on all
/// of them.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "memory/ledger_spill.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/memory/shared_tape.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::tests {

inline constexpr std::size_t kKindBytes = 8_MiB;

struct CommittedTape {
  static constexpr const char* kName = "Committed";
  Tape tape = Tape::start(kKindBytes, {.name = "kind"});
};

/// Options of a block that cannot be committed while `refuse` is true.
template <class Options>
[[nodiscard]] Options refusing_while(const bool& refuse) {
  Options options;
  options.on_commit = [&refuse](std::span<std::byte> /*range*/) {
    if (refuse) throw std::runtime_error("the card takes no more memory");
  };
  return options;
}

struct GrowingTape {
  static constexpr const char* kName = "Growing";
  bool refuse = false;
  Tape tape = Tape::start(
      kKindBytes,
      {.name = "kind", .commit_step = 64_KiB, .block = refusing_while<BlockOptions>(refuse)});
};

struct GrowingSharedMemoryTape {
  static constexpr const char* kName = "GrowingSharedMemory";
  bool refuse = false;
  Tape tape = Tape::over(Block::create_shared(kKindBytes, refusing_while<BlockOptions>(refuse)),
                         {.name = "kind", .commit_step = 64_KiB});
};

/// A tape at an odd address and with an odd size.
struct BorrowedTape {
  static constexpr const char* kName = "Borrowed";
  std::unique_ptr<std::byte[]> memory =
      std::make_unique_for_overwrite<std::byte[]>(kKindBytes + 200);
  Tape tape = Tape::over(Block::borrow({memory.get() + 13, kKindBytes + 101}), {.name = "kind"});
};

struct SharedMemoryTape {
  static constexpr const char* kName = "SharedMemory";
  Tape tape = Tape::over(Block::create_shared(kKindBytes), {.name = "kind"});
};

/// Its spill has a limit, so that this kind becomes full too.
struct SpillingTape {
  static constexpr const char* kName = "Spilling";
  LedgerSpill source{256_KiB};
  Tape tape = Tape::start(kKindBytes, {.name = "kind", .spill = &source});
};

struct ChildTape {
  static constexpr const char* kName = "Child";
  Tape parent = Tape::start(3 * kKindBytes, {.name = "kind"});
  Tape& tape = parent.split(3)[1];
};

struct ManyWritersTape {
  static constexpr const char* kName = "ManyWriters";
  SharedTape tape = SharedTape::start(kKindBytes, {.name = "kind"});
};

using TapeKinds = ::testing::Types<CommittedTape, GrowingTape, BorrowedTape, SharedMemoryTape,
                                   SpillingTape, ChildTape, ManyWritersTape>;

/// The kinds with one writer, which have marks and a floor.
using MarkedTapeKinds = ::testing::Types<CommittedTape, GrowingTape, BorrowedTape, SharedMemoryTape,
                                         SpillingTape, ChildTape>;
using GrowingTapeKinds = ::testing::Types<GrowingTape, GrowingSharedMemoryTape>;

struct TapeKindNames {
  template <class Kind>
  static std::string GetName(int /*index*/) {  // NOLINT(readability-identifier-naming)
    return Kind::kName;
  }
};

}  // namespace tapedeck::tests
