// SPDX-License-Identifier: Apache-2.0
/// @file
/// A spill source that uses mimalloc. Needs target `tapedeck::spill`. That target is separate from
/// the core because Debian's libmimalloc.so exports `malloc`, `free` and `operator new`, so linking
/// it replaces the allocator of the whole program.
#pragma once

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/spill_source.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The process-wide spill source that uses mimalloc. Thread-safety: any thread; blocks may be freed
/// on another thread than the one that allocated them.
[[nodiscard]] SpillSource& mimalloc_spill() noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
