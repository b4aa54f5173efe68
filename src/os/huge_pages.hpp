// SPDX-License-Identifier: Apache-2.0
/// @file
/// Transparent huge pages: whether the kernel gives them, and how a range gets them. Advice to use
/// them succeeds even if none will ever be given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/host_memory.hpp"

namespace tapedeck::internal::os {

/// The size of a transparent huge page; 0 if the kernel has none.
[[nodiscard]] std::size_t transparent_page_size();

enum class TouchedMemory : std::uint8_t { anonymous, shared };

/// The setting that keeps the first touch of advised memory from getting huge pages, for people:
/// "shmem_enabled is never"; empty if none does, or if the kernel does not report it.
[[nodiscard]] std::string refusal_on_touch(TouchedMemory memory, const KernelRoots& roots = {});

/// Moves the whole huge pages of a range, whose pages are in RAM, into huge pages where the kernel
/// has not used them already, and checks the result. Returns 0 if all of them are huge now, and
/// otherwise errno; `nullopt` if the range contains no whole huge page or the kernel does not
/// report them (before Linux 6.7).
[[nodiscard]] std::optional<int> make_huge(std::byte* at, std::size_t bytes);

}  // namespace tapedeck::internal::os
