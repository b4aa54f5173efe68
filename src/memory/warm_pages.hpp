/// @file
/// The work behind `Block::warm`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "os/limits.hpp"
#include "os/vm.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal {

/// Where the pages come from, which decides what they count against.
enum class WarmSource : std::uint8_t {
  new_pages,
  page_cache,      ///< May be in RAM already, though not for this process.
  huge_page_pool,  ///< Set aside by the host: no budget is touched.
};

/// The budget, where `bytes` of new pages cannot fit in it even if all that this process has in RAM
/// is already part of them.
[[nodiscard]] std::optional<os::Budget> beyond_budget(std::size_t bytes);

/// Makes a range of whole pages resident without changing a byte.
[[nodiscard]] WarmResult warm_pages(std::span<std::byte> pages, os::Access access,
                                    WarmSource source, const WarmOptions& options);

}  // namespace tapedeck::internal
