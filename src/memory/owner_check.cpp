// The thread that writes on a tape, in builds that compare it.

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
      "tapedeck: thread %d writes on tape %s, and thread %d is its writer; the writer calls "
      "hand_over() before another thread goes on\n",
      this_thread(), tape, other);
  std::abort();
}

}  // namespace checking
}  // namespace tapedeck::internal::inline TAPEDECK_ABI

#endif
