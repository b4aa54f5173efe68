/// @file
/// Options and results of making memory resident (`Block::warm`, `Tape::warm`), and of asking
/// whether it is.
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape history = Tape::start(8_MiB, {.name = "history"});
/// const WarmResult warmed = history.warm({.progress = [](WarmProgress at) {
///   std::printf("%zu of %zu bytes\n", at.done, at.total);
/// }});
/// if (!warmed) std::puts(warmed.limit.c_str());
/// assert(history.residency().present.value_or(8_MiB) == 8_MiB);
/// @endcode
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

struct WarmProgress {
  std::size_t done;   ///< Bytes.
  std::size_t total;  ///< Bytes.
};

struct WarmOptions {
  unsigned threads = 0;        ///< 0: as many as the machine has, at most 16.
  std::size_t chunk = 32_MiB;  ///< Between two chunks: stop, budget and progress.
  std::stop_token stop{};
  /// One call at a time, from any of the threads. What it throws comes out of `warm`; it is not
  /// called again then.
  std::function<void(WarmProgress)> progress{};
};

enum class WarmEnd : std::uint8_t { complete, stopped, over_budget, failed };

/// What `warm` did. Converts to true when every page was made resident.
struct WarmResult {
  WarmEnd end = WarmEnd::complete;
  std::size_t asked = 0;   ///< Bytes.
  std::size_t warmed = 0;  ///< Bytes of the chunks that were populated.
  /// Bytes really present afterwards (present bits of /proc/self/pagemap); nothing where that
  /// cannot be read, or the budget was too small from the start.
  std::optional<std::size_t> present{};
  int error = 0;              ///< errno, where `end` is `failed`.
  std::size_t available = 0;  ///< Where `end` is `over_budget`: bytes that were left,
  std::string limit{};        ///< and what bounds them.

  explicit operator bool() const noexcept { return end == WarmEnd::complete; }
};

/// How much of a range is in RAM now. Costs system calls; "nothing" means the kernel did not tell.
struct Residency {
  std::optional<std::size_t> present{};  ///< Bytes in RAM.
  std::optional<std::size_t> huge{};     ///< Bytes of the whole block backed by huge pages.
};

TAPEDECK_ABI_END
}  // namespace tapedeck
