// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ForeignMemory`: what the libraries of an engine take outside the tapes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Memory that a library takes from the host for itself, as `PlanOptions::foreign` states it.
/// Thread-safety: a value.
struct ForeignMemory {
  std::string name{};       ///< For people: "OpenBLAS, 8 calling threads".
  std::uint64_t bytes = 0;  ///< Memory. It counts in totals and against the host's budget.
  /// Addresses that are mapped in addition to `bytes`, in bytes. They count only against limits of
  /// what a process may map (`MemoryLimit::mapped`). Those that are touched become memory, which
  /// does not count because its size is not known; what you have measured, state as `bytes`.
  std::uint64_t addresses = 0;

  friend bool operator==(const ForeignMemory&, const ForeignMemory&) = default;
};

/// Libraries of which it is known what they take.
enum class ForeignLibrary : std::uint8_t {
  openblas,  ///< 128 MiB of addresses for each thread that calls it at the same time.
  onednn,    ///< Up to 1.65 MB for each int8 primitive that executes at the same time.
};

/// Returns what a library takes for this number of threads or executions.
///
/// OpenBLAS maps a buffer for each calling thread when the thread first multiplies matrices, and
/// keeps it. Its size is fixed when OpenBLAS is built: 128 MiB for BUFFERSIZE=22, less for the
/// builds in NumPy (32 MiB for BUFFERSIZE=20). oneDNN takes heap memory while an int8 primitive
/// executes, even if the caller provides the scratchpad; 1.65 MB is the most that was measured.
/// @code{.cpp}
/// using namespace tapedeck;
/// const ForeignMemory blas = foreign_memory(ForeignLibrary::openblas, 8);
/// assert(blas.bytes == 0 && blas.addresses == 1_GiB);
/// assert(foreign_memory(ForeignLibrary::onednn, 2).bytes == 3'300'000);
/// @endcode
/// @throws InvalidArgument if the result does not fit in 64 bits.
[[nodiscard]] ForeignMemory foreign_memory(ForeignLibrary library, std::uint64_t count);

/// Returns the sum of each figure, at most 2^64 - 1, without a name.
[[nodiscard]] ForeignMemory sum_of(std::span<const ForeignMemory> foreign) noexcept;

}  // namespace tapedeck::inline TAPEDECK_ABI
