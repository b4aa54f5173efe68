// SPDX-License-Identifier: Apache-2.0
// Identifies the thread that writes to a tape, in builds with the owner check.

#if defined(TAPEDECK_OWNER_CHECK)

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "os/process.hpp"
#include "tapedeck/memory/checking.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {
namespace checking {

std::int32_t this_thread() noexcept {
  thread_local const std::int32_t id = os::thread_id();
  return id;
}

void end_for_two_writers(const char* tape, std::int32_t other) noexcept {
  std::fprintf(
      stderr,
      "tapedeck: thread %d writes to tape %s, but thread %d is its writer; call hand_over() on the "
      "writer's thread before another thread writes\n",
      this_thread(), tape, other);
  std::abort();
}

}  // namespace checking
}  // namespace tapedeck::internal::inline TAPEDECK_ABI

#endif
