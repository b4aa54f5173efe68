/// @file
/// Notes of what was asked of the host and could not be had, by blocks and by weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tapedeck/memory/block_options.hpp"

namespace tapedeck::internal {

inline constexpr const char* kHugePagePoolAdvice = "see /proc/sys/vm/nr_hugepages";

/// Notes a wish that was refused, in the place of what was noted of it before.
void note_unmet(std::vector<Unmet>& all, Wish wish, int error, const std::string& why = {});
/// The same of a lock. @param limit  for people; empty: RLIMIT_MEMLOCK is
void note_unmet_lock(std::vector<Unmet>& all, int error, std::uint64_t bytes,
                     std::string limit = {});
/// The wish is met, or is not asked any more.
void forget_unmet(std::vector<Unmet>& all, Wish wish);

}  // namespace tapedeck::internal
