/// @file
/// The spill on mimalloc. Needs target `tapedeck::spill`, which is apart from the core because
/// Debian's libmimalloc.so exports `malloc`, `free` and `operator new`: linking it replaces the
/// whole program's allocator.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/spill_source.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The process-wide source on mimalloc. Thread-safe: blocks belong to no thread's heap, so they may
/// be given back on any thread.
[[nodiscard]] SpillSource& mimalloc_spill() noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
