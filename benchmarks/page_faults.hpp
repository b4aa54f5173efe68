// SPDX-License-Identifier: Apache-2.0
/// @file
/// The page faults of this process, for the counter `faults` of several programs.
#pragma once

#include <sys/resource.h>

inline long long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}
