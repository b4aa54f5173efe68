/// @file
/// The work behind `Block::warm`.
#pragma once

#include <cstddef>
#include <span>

#include "os/vm.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Makes a range of whole pages resident without changing a byte.
[[nodiscard]] WarmResult warm_pages(std::span<std::byte> pages, os::Access access,
                                    const WarmOptions& options);

}  // namespace tapedeck::inline TAPEDECK_ABI
