// SPDX-License-Identifier: Apache-2.0
/// @file
/// How pages become resident within the limits of memory: the work behind `Block::warm` and
/// `Block::lock`.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "os/limits.hpp"
#include "os/resident_ledger.hpp"
#include "os/vm.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::internal {

/// A range of whole pages, and what the ledger has to know of it.
struct PagesToWarm {
  std::span<std::byte> pages;
  os::PageSource source;
  bool claimed;  ///< The pages are part of a claim already.
};

/// Returns the budget if `bytes` of new pages cannot fit in it, even assuming that all resident
/// memory of this process is already part of them.
[[nodiscard]] std::optional<os::Budget> beyond_budget(std::size_t bytes);

/// Makes pages resident without changing a byte.
[[nodiscard]] WarmResult warm_pages(const PagesToWarm& what, os::Access access,
                                    const WarmOptions& options);

/// How making pages resident ended.
struct PagesEnd {
  int error = 0;                        ///< errno; ENOMEM over the budget.
  std::optional<os::Budget> refused{};  ///< The budget that did not have room for them.
};

/// Makes new pages that are claimed resident, in steps that the budget allows.
[[nodiscard]] PagesEnd populate_pages(std::span<std::byte> pages);
/// Makes several ranges of such pages resident: by one system call, if the budget allows all of
/// them at once and the kernel has it.
[[nodiscard]] PagesEnd populate_pages(std::span<const std::span<std::byte>> ranges);
/// @throws OutOfMemory over the budget, SystemError for other errors.
void require_populated(const PagesEnd& end, std::size_t bytes, const std::string& purpose);

/// Locks pages in RAM, which makes all of them resident, in steps that the budget allows. If one
/// is refused, none stays locked.
[[nodiscard]] PagesEnd lock_pages(const PagesToWarm& what);

}  // namespace tapedeck::internal
