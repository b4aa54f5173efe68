// SPDX-License-Identifier: Apache-2.0
/// @file
/// Brings files to a known state before something is timed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace file_state {

/// How much of a file is in the page cache: nothing, its first half, all of it.
enum class State : std::uint8_t { cold, half_hot, hot };

void bring_to(State state, const std::filesystem::path& path);

/// Touches `bytes` of memory and frees them. The host of a virtual machine reclaims memory that is
/// not used, and is slow to provide it again; priming keeps that out of the timed rows.
void prime(std::size_t bytes);

/// A folder on a disk for files of some GiB: $TMPDIR, or /var/tmp if that is not set.
[[nodiscard]] std::filesystem::path disk_folder();

}  // namespace file_state
