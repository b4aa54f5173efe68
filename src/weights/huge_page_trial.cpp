// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/huge_page_trial.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/memory/block.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

constexpr std::size_t kTrialBytes = 32_MiB;
constexpr int kRounds = 3;  // the first one pays for memory that the host had reclaimed

struct Round {
  double seconds = 0;
  std::size_t huge = 0;
};

// Does what a load does to each page: it is populated and written, and the first token reads it.
Round measure(HugePages pages) {
  using Clock = std::chrono::steady_clock;
  Block block = Block::reserve(kTrialBytes, {.huge_pages = pages});
  block.commit(kTrialBytes);
  const Clock::time_point start = Clock::now();
  std::memset(block.data(), 1, block.size());
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < block.size(); at += sizeof sum) {
    std::uint64_t word = 0;
    std::memcpy(&word, block.data() + at, sizeof word);
    sum += word;
  }
  const volatile std::uint64_t used = sum;  // so that the sum is computed
  static_cast<void>(used);
  return {.seconds = std::chrono::duration<double>(Clock::now() - start).count(),
          .huge = block.residency(0, block.size()).huge.value_or(0)};
}

HugePageTrial run_trial() {
  HugePageTrial trial = {.bytes = kTrialBytes};
  if (os::huge_page_size() == 0) return trial;
  try {
    for (int round = 0; round < kRounds; ++round) {
      const Round ordinary = measure(HugePages::never);
      const Round transparent = measure(HugePages::transparent);
      const auto least = [&](double so_far, double now) {
        return round == 0 ? now : std::min(so_far, now);
      };
      trial.ordinary_seconds = least(trial.ordinary_seconds, ordinary.seconds);
      trial.transparent_seconds = least(trial.transparent_seconds, transparent.seconds);
      trial.huge = std::max(trial.huge, transparent.huge);
    }
  } catch (const Error&) {
    return {.bytes = kTrialBytes};  // no memory for a trial: ordinary pages always work
  }
  if (trial.huge != 0 && trial.transparent_seconds < trial.ordinary_seconds) {
    trial.best = HugePages::transparent;
  }
  return trial;
}

}  // namespace

const HugePageTrial& huge_page_trial() {
  static const HugePageTrial trial = run_trial();
  return trial;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
