/// @file
/// Files brought to a known state before something is timed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace file_state {

/// How much of a file is in the page cache: nothing, its first half, all of it.
enum class State : std::uint8_t { cold, half_hot, hot };

void bring_to(State state, const std::filesystem::path& path);

/// The host of a virtual machine takes back what it does not use, and giving it again is slow.
/// Touches so much memory and gives it back, so that no row pays for another.
void prime(std::size_t bytes);

/// Where files of some GiB can be on a disk: $TMPDIR, or /var/tmp.
[[nodiscard]] std::filesystem::path disk_folder();

}  // namespace file_state
