// SPDX-License-Identifier: Apache-2.0
/// @file
/// Records of options that blocks and weights requested and the host did not grant.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "os/limits.hpp"
#include "tapedeck/memory/block_options.hpp"

namespace tapedeck::internal {

/// Records an option that was refused, and replaces an earlier record of the same option.
void note_unmet(std::vector<Unmet>& all, Wish wish, int error, const std::string& why = {});
/// Records a refused lock. @param refused  the budget that refused it; otherwise RLIMIT_MEMLOCK
/// did.
void note_unmet_lock(std::vector<Unmet>& all, int error, std::uint64_t bytes,
                     const std::optional<os::Budget>& refused);
/// Records why there are no explicit huge pages.
void note_unmet_huge_pages(std::vector<Unmet>& all, int error);
/// Removes the record of an option that was granted or is no longer requested.
void forget_unmet(std::vector<Unmet>& all, Wish wish);

}  // namespace tapedeck::internal
