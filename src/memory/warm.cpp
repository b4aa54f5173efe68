// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/warm.hpp"

#include <array>
#include <cerrno>

#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

const char* to_string(WarmEnd end) noexcept {
  constexpr std::array names = {"complete", "stopped", "past its deadline", "over budget",
                                "failed"};
  return names[static_cast<std::size_t>(end)];
}

namespace {

std::string advice_for(int error) {
  switch (error) {
    case EACCES:
      return "the memory can be neither written nor read; change its protection (mprotect)";
    case EFAULT:
      return "a part of it lies behind the end of its file, or its file cannot be read";
    case ENOMEM:
      return "a part of it is not mapped, or memory ran out";
    default:
      return {};
  }
}

}  // namespace

void WarmResult::or_throw(const std::string& purpose) const {
  switch (end) {
    case WarmEnd::complete:
      return;
    case WarmEnd::over_budget:
      throw OutOfMemory(
          {.purpose = purpose, .limit = limit, .needed = asked - warmed, .available = available},
          "free some memory, or plan for less");
    case WarmEnd::failed:
      throw SystemError({.call = "madvise", .number = error, .bytes = asked, .object = purpose},
                        advice_for(error));
    case WarmEnd::stopped:
      throw SystemError({.call = purpose, .number = ECANCELED, .bytes = asked});
    case WarmEnd::past_deadline:
      throw SystemError({.call = purpose, .number = ETIMEDOUT, .bytes = asked});
  }
}

}  // namespace tapedeck::inline TAPEDECK_ABI
