// SPDX-License-Identifier: Apache-2.0
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

/// Where the pages come from, which determines what they are charged to.
enum class WarmSource : std::uint8_t {
  new_pages,
  page_cache,        ///< The pages may be in RAM already, even if this process has not mapped them.
  unreported_cache,  ///< As `page_cache`, but the kernel reports only the pages that are mapped.
  huge_page_pool,    ///< The host has set these pages aside; they do not count against the budget.
};

/// Returns the budget if `bytes` of new pages cannot fit in it, even assuming that all resident
/// memory of this process is already part of them.
[[nodiscard]] std::optional<os::Budget> beyond_budget(std::size_t bytes);

/// Makes a range of whole pages resident without changing a byte.
[[nodiscard]] WarmResult warm_pages(std::span<std::byte> pages, os::Access access,
                                    WarmSource source, const WarmOptions& options);

}  // namespace tapedeck::internal
