// SPDX-License-Identifier: Apache-2.0
/// @file
/// What layouts do in a second, from successive samples of their counters.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "os/meminfo.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"

namespace tapedeck::cli {

/// Events per second, on average over the last few seconds.
struct Rates {
  double passes = 0;
  double minor_faults = 0;
  double major_faults = 0;
  std::array<double, 1 + kMostGpus> tokens{};  ///< Of the host, then of each device.
};

/// The counters of a layout and its process at one moment.
class RateSample {
 public:
  using Time = std::chrono::steady_clock::time_point;

  RateSample(Time time, const Stat& stat, const internal::os::FaultCount& faults)
      : time_(time), passes_(stat.passes), faults_(faults) {
    tokens_[0] = stat.tokens + stat.cleared_tokens;
    for (std::size_t i = 0; i < kMostGpus; ++i) {
      tokens_[1 + i] = stat.gpu[i].tokens + stat.gpu[i].cleared_tokens;
    }
  }

  [[nodiscard]] Time time() const noexcept { return time_; }

  /// Whether these counters may be those of `before`, some time later.
  [[nodiscard]] bool continues(const RateSample& before) const noexcept {
    return time_ > before.time_ && passes_ >= before.passes_;
  }

  /// Rates are never negative: a talk that rewinds more than it advances counts as standing still.
  /// @pre continues(before)
  [[nodiscard]] Rates since(const RateSample& before) const noexcept {
    const std::chrono::duration<double> seconds = time_ - before.time_;
    const auto rate = [&](std::uint64_t earlier, std::uint64_t now) {
      return now > earlier ? static_cast<double>(now - earlier) / seconds.count() : 0;
    };
    Rates rates = {.passes = rate(before.passes_, passes_),
                   .minor_faults = rate(before.faults_.minor, faults_.minor),
                   .major_faults = rate(before.faults_.major, faults_.major)};
    for (std::size_t i = 0; i < rates.tokens.size(); ++i) {
      rates.tokens[i] = rate(before.tokens_[i], tokens_[i]);
    }
    return rates;
  }

 private:
  Time time_;
  std::uint64_t passes_;
  internal::os::FaultCount faults_;
  // Ever added and not taken back: those in the talks now, and those in the talks that were
  // cleared.
  std::array<std::uint64_t, 1 + kMostGpus> tokens_{};
};

/// The samples of the last few seconds.
class RateWindow {
 public:
  static constexpr auto kSpan = std::chrono::seconds(3);

  void add(const RateSample& sample) {
    if (!samples_.empty() && !sample.continues(samples_.back())) samples_.clear();
    samples_.push_back(sample);
    while (samples_.size() > 2 && sample.time() - samples_[1].time() > kSpan) samples_.pop_front();
  }
  void clear() noexcept { samples_.clear(); }

  /// Nothing until there are two samples, also after the layout has started again from zero.
  [[nodiscard]] std::optional<Rates> rates() const noexcept {
    if (samples_.size() < 2) return std::nullopt;
    return samples_.back().since(samples_.front());
  }

 private:
  std::deque<RateSample> samples_;
};

}  // namespace tapedeck::cli
