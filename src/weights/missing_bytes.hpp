// SPDX-License-Identifier: Apache-2.0
/// @file
/// How much memory bringing in a chunk of weights takes.
#pragma once

#include <cstdint>
#include <optional>

#include "tapedeck/base/abi.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::internal {

/// Upper bound of the bytes that bringing a chunk in adds to RAM; cheap to compute. Of mapped files
/// and shared memory, it counts what is not in the page cache, and is unknown where the kernel does
/// not report that; of private memory, everything. (A byte of shared memory that was never written
/// has no page. Reading it allocates one, charged to the reader.)
[[nodiscard]] std::optional<std::uint64_t> most_missing_bytes(const WeightsState& state,
                                                              const WeightsChunk& chunk);
/// Bytes that bringing a chunk in adds to RAM, exact to the page. Pages that the kernel does not
/// report count as missing.
[[nodiscard]] std::uint64_t missing_bytes(const WeightsState& state, const WeightsChunk& chunk);

}  // namespace tapedeck::internal
