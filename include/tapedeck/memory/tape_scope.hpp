// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TapeScope`: releases at the end of a C++ scope what was taken inside it.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Marks a tape on construction and rewinds it on destruction. Scopes nest; a scope that outlives a
/// `clear()` has no effect. Thread-safety: only the tape's writer.
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape scratch = Tape::start(1_MiB);
/// {
///   const TapeScope layer(scratch);
///   (void)scratch.take<float>(4096);
/// }
/// assert(scratch.used() == 0);
/// @endcode
class [[nodiscard]] TapeScope {
 public:
  explicit TapeScope(Tape& tape) noexcept : tape_(tape), mark_(tape.mark()) {}
  ~TapeScope() { tape_.rewind(mark_); }
  TapeScope(const TapeScope&) = delete;
  TapeScope& operator=(const TapeScope&) = delete;

 private:
  Tape& tape_;
  Tape::Mark mark_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
