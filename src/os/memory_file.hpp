/// @file
/// Memory files: anonymous memory behind a descriptor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/descriptor.hpp"

namespace tapedeck::internal::os {

/// Anonymous memory behind a descriptor. `huge_page` 0, or the size of the hugetlb pages to use;
/// `sealable`: whether whoever has the descriptor may `seal` it.
[[nodiscard]] Opened create_memory_file(const char* name, std::size_t bytes, std::size_t huge_page,
                                        bool sealable = false) noexcept;
/// Nobody writes a memory file or changes its size any more. EBUSY while somebody has it mapped to
/// write. Gives errno.
[[nodiscard]] int seal(int descriptor) noexcept;
/// 0 for a memory file that was sealed, EINVAL for anything else; other errors of fcntl.
[[nodiscard]] int check_sealed(int descriptor) noexcept;

/// Bytes of the hugetlb pages behind a memory file; 0 where it has ordinary ones.
[[nodiscard]] std::size_t huge_page_of(int descriptor) noexcept;

/// Gives the pages of a range of a memory file back.
[[nodiscard]] int punch_hole(int descriptor, std::uint64_t offset, std::size_t bytes) noexcept;

}  // namespace tapedeck::internal::os
