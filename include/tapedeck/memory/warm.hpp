/// @file
/// Options and results of making memory resident (`Block::warm`, `Tape::warm`, `Weights::warm`),
/// and of asking whether it is.
/// @code{.cpp}
/// using namespace tapedeck;
/// Tape history = Tape::start(8_MiB, {.name = "history"});
/// history
///     .warm({.progress = [](const WarmProgress& at) {
///       std::printf("%zu of %zu bytes\n", at.done, at.total);
///     }})
///     .or_throw("warming the history");
/// assert(history.residency().present.value_or(8_MiB) == 8_MiB);
/// @endcode
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct WarmProgress {
  std::size_t done = 0;   ///< Bytes, of this job.
  std::size_t total = 0;  ///< Bytes that it is to bring in.
  double seconds = 0;     ///< Since it began.

  [[nodiscard]] double bytes_per_second() const noexcept {
    return seconds > 0 ? static_cast<double>(done) / seconds : 0;
  }
  /// Seconds that are left at that rate; nothing before the first byte.
  [[nodiscard]] std::optional<double> seconds_left() const noexcept {
    if (done == 0) return std::nullopt;
    return static_cast<double>(total - done) / bytes_per_second();
  }
};

struct WarmOptions {
  unsigned threads = 0;  ///< 0: as many as the machine has, at most 16.
  /// Between two chunks: stop, deadline, budget and progress. Files are brought in by chunks of
  /// 8 MiB, whatever this says.
  std::size_t chunk = 32_MiB;
  std::stop_token stop{};
  /// When the job ends unfinished: nothing is begun after it.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  /// One call at a time, from any of the threads. What it throws ends the job and comes out of
  /// `warm`, or of `WarmJob::wait`; it is not called again then.
  std::function<void(const WarmProgress&)> progress{};
};

enum class WarmEnd : std::uint8_t { complete, stopped, past_deadline, over_budget, failed };

[[nodiscard]] const char* to_string(WarmEnd end) noexcept;

/// What a warm did. Converts to true when all was made resident.
struct [[nodiscard]] WarmResult {
  WarmEnd end = WarmEnd::complete;
  std::size_t asked = 0;   ///< Bytes; of weights, those that were not ready when it began.
  std::size_t warmed = 0;  ///< Of these, bytes of the chunks that are there now.
  double seconds = 0;
  /// Bytes of the whole range that are in RAM afterwards (present bits of /proc/self/pagemap);
  /// nothing where that cannot be read, or the budget was too small from the start.
  std::optional<std::size_t> present{};
  std::optional<std::size_t> huge{};  ///< Of these, in huge pages; looked up for weights only.
  std::uint64_t minor_faults = 0;     ///< Of the whole process meanwhile.
  std::uint64_t major_faults = 0;
  int error = 0;              ///< errno, where `end` is `failed`.
  std::size_t available = 0;  ///< Where `end` is `over_budget`: bytes that were left,
  std::string limit{};        ///< and what bounds them.

  explicit operator bool() const noexcept { return end == WarmEnd::complete; }

  /// Returns where all was made resident.
  /// @param purpose  as an error names it: "warming tape weights".
  /// @throws OutOfMemory where it ended over budget; else SystemError: what the system refused,
  /// ECANCELED where it was stopped, ETIMEDOUT past its deadline.
  void or_throw(const std::string& purpose) const;
};

/// How much of a range is in RAM now. Costs system calls; "nothing" means the kernel did not tell.
struct Residency {
  std::optional<std::size_t> present{};  ///< Bytes in RAM.
  std::optional<std::size_t> huge{};     ///< Bytes of the whole block backed by huge pages.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
