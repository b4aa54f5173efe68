// SPDX-License-Identifier: Apache-2.0
/// @file
/// Memory files: anonymous memory behind a descriptor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/descriptor.hpp"

namespace tapedeck::internal::os {

/// Creates anonymous memory behind a descriptor. `huge_page` is the size of the hugetlb pages to
/// use, or 0 for ordinary pages; `sealable` allows holders of the descriptor to `seal` it.
[[nodiscard]] Opened create_memory_file(const char* name, std::size_t bytes, std::size_t huge_page,
                                        bool sealable = false) noexcept;
/// Forbids writing to a memory file and changing its size, permanently. Returns errno, EBUSY while
/// a process has it mapped for writing.
[[nodiscard]] int seal(int descriptor) noexcept;
/// Returns 0 for a sealed memory file, EINVAL for one that is not sealed, or an error of fcntl.
[[nodiscard]] int check_sealed(int descriptor) noexcept;

/// The size in bytes of the hugetlb pages behind a memory file; 0 if it has ordinary pages.
[[nodiscard]] std::size_t huge_page_of(int descriptor) noexcept;

/// Releases the pages of a range of a memory file. Returns errno.
[[nodiscard]] int punch_hole(int descriptor, std::uint64_t offset, std::size_t bytes) noexcept;

}  // namespace tapedeck::internal::os
