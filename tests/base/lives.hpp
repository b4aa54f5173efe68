// SPDX-License-Identifier: Apache-2.0
/// @file
/// How many lives a random test plays, and from which seed on.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace tapedeck::tests {

/// The number in an environment variable, or `usual` if it is not set.
[[nodiscard]] inline std::uint64_t number_from_environment(const char* name, std::uint64_t usual) {
  const char* const asked = std::getenv(name);
  return asked == nullptr ? usual : std::strtoull(asked, nullptr, 0);
}

/// TAPEDECK_LIVES lets a random test run for as long as wanted, under a sanitizer for example.
[[nodiscard]] inline std::uint64_t lives(std::uint64_t usual) {
  return number_from_environment("TAPEDECK_LIVES", usual);
}

/// TAPEDECK_SEED replays or varies the lives.
[[nodiscard]] inline std::uint64_t first_seed(std::uint64_t usual) {
  return number_from_environment("TAPEDECK_SEED", usual);
}

}  // namespace tapedeck::tests
