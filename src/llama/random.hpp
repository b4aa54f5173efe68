// SPDX-License-Identifier: Apache-2.0
/// @file
/// Random numbers that depend only on the seed, on every platform.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::llama {

/// xorshift64*, as in llama2.c: fast and good enough for sampling and for made weights.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept {
    // splitmix64 spreads similar seeds; the state must not be 0.
    std::uint64_t z = seed + 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    state_ = (z ^ (z >> 31)) | 1;
  }

  /// Returns 32 random bits.
  [[nodiscard]] std::uint32_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::uint32_t>((state_ * 0x2545F4914F6CDD1DU) >> 32);
  }

  /// Returns a number in [0, 1).
  [[nodiscard]] float unit() noexcept { return static_cast<float>(next() >> 8) * 0x1p-24F; }

 private:
  std::uint64_t state_;
};

}  // namespace tapedeck::llama
