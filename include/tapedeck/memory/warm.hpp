// SPDX-License-Identifier: Apache-2.0
/// @file
/// Options and results of making memory resident (`Block::warm`, `Tape::warm`, `Weights::warm`) and
/// of querying how much of it is resident.
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
  std::size_t done = 0;   ///< Bytes that the job has brought in.
  std::size_t total = 0;  ///< Bytes that the job has to bring in.
  double seconds = 0;     ///< Time since the job began.

  [[nodiscard]] double bytes_per_second() const noexcept {
    return seconds > 0 ? static_cast<double>(done) / seconds : 0;
  }
  /// The estimated remaining seconds at the average rate so far; `nullopt` before the first byte.
  [[nodiscard]] std::optional<double> seconds_left() const noexcept {
    if (done == 0) return std::nullopt;
    return static_cast<double>(total - done) / bytes_per_second();
  }
};

/// The most threads that one job uses. More do not make memory or a disk faster.
inline constexpr unsigned kMostWarmThreads = 128;

struct WarmOptions {
  /// 0: one for each hardware thread, at most 16. More than `kMostWarmThreads` count as that many.
  unsigned threads = 0;
  /// The chunk size in bytes. Stop, deadline, budget and progress are handled between chunks.
  /// `Weights::warm` ignores this value and brings in files in chunks of 8 MiB.
  std::size_t chunk = 32_MiB;
  std::stop_token stop{};
  /// No chunk is started after this time; the job then ends unfinished.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  /// Called from any of the threads, but never concurrently. An exception from it ends the job and
  /// is rethrown by `warm` or `WarmJob::wait`; it is not called again after that.
  std::function<void(const WarmProgress&)> progress{};
};

enum class WarmEnd : std::uint8_t { complete, stopped, past_deadline, over_budget, failed };

[[nodiscard]] const char* to_string(WarmEnd end) noexcept;

/// The result of warming a range. Converts to true if all of it was made resident.
struct [[nodiscard]] WarmResult {
  WarmEnd end = WarmEnd::complete;
  std::size_t asked = 0;   ///< Bytes requested; for weights, those not ready when the job began.
  std::size_t warmed = 0;  ///< Bytes of these in chunks that were completed.
  double seconds = 0;
  /// Bytes of the whole range that are in RAM afterwards (present bits of /proc/self/pagemap);
  /// `nullopt` if that cannot be read, or if the budget was too small from the start.
  std::optional<std::size_t> present{};
  std::optional<std::size_t> huge{};  ///< Bytes of these in huge pages; only set for weights.
  std::uint64_t minor_faults = 0;     ///< Of the whole process during the job.
  std::uint64_t major_faults = 0;     ///< Of the whole process during the job.
  int error = 0;                      ///< errno, if `end` is `failed`.
  std::size_t available = 0;          ///< Bytes that were left, if `end` is `over_budget`.
  std::string limit{};                ///< The limit that was hit, if `end` is `over_budget`.

  explicit operator bool() const noexcept { return end == WarmEnd::complete; }

  /// Does nothing if all of the range was made resident; otherwise throws.
  /// @param purpose  the activity, for the error message: "warming tape weights".
  /// @throws OutOfMemory if the job ended over budget; otherwise SystemError with the errno of the
  /// call that failed, with ECANCELED if it was stopped, or with ETIMEDOUT past its deadline.
  void or_throw(const std::string& purpose) const;
};

/// How much of a range is in RAM now. Costs system calls. A field is `nullopt` if the kernel does
/// not report it.
struct Residency {
  std::optional<std::size_t> present{};  ///< Bytes in RAM.
  std::optional<std::size_t> huge{};     ///< Bytes of the whole block backed by huge pages.
};

}  // namespace tapedeck::inline TAPEDECK_ABI
