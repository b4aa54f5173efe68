// SPDX-License-Identifier: Apache-2.0
/// @file
/// Accesses to memory whose pages may be missing or protected. They give errno where an ordinary
/// access would raise a signal.
#pragma once

#include <cstddef>

#include "os/descriptor.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Makes pages resident without changing a byte, by `populate` where that suffices. Where it gives
/// EINVAL, the kernel is older than 5.14, or a part of the range does not permit the access, or it
/// is memory of a device. Then each mapping gets the access that it permits: what cannot be written
/// is read, and a device's memory is left as it is. Returns errno: EACCES where the memory can be
/// neither written nor read, EFAULT behind the end of a file, ENOMEM where nothing is mapped or
/// memory ran out.
[[nodiscard]] int fault_in(std::byte* at, std::size_t bytes, Access access);

/// Maps the pages of a range as reading a byte of each would, but gives EFAULT instead of SIGBUS.
/// Returns errno.
[[nodiscard]] int touch_pages(std::byte* at, std::size_t bytes) noexcept;

/// Copies bytes that may no longer exist, such as those of a mapped file that was truncated. It
/// copies as many bytes as can be read and then gives EFAULT instead of SIGBUS. If the kernel
/// refuses such copies (process_vm_readv), only bytes that are missing when it starts give EFAULT.
[[nodiscard]] Transferred copy_readable(std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;

}  // namespace tapedeck::internal::os
