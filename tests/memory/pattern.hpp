// SPDX-License-Identifier: Apache-2.0
/// @file
/// Byte patterns that identify their owner: a test fills each allocation with its own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tapedeck::tests {

/// The pattern with a number: pieces of 4 KiB from a table of noise, one after the other.
class Pattern {
 public:
  explicit Pattern(std::uint64_t number) noexcept : number_(number) {}

  void write(void* at, std::size_t bytes) const noexcept {
    auto* to = static_cast<std::byte*>(at);
    for (std::size_t done = 0; done < bytes; done += kChunk) {
      std::memcpy(to + done, chunk(done), std::min(kChunk, bytes - done));
    }
  }

  [[nodiscard]] bool is_at(const void* at, std::size_t bytes) const noexcept {
    const auto* from = static_cast<const std::byte*>(at);
    for (std::size_t done = 0; done < bytes; done += kChunk) {
      if (std::memcmp(from + done, chunk(done), std::min(kChunk, bytes - done)) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kChunk = 4096;
  using Table = std::array<std::byte, 2 * kChunk>;

  static const Table& table() noexcept {
    static const Table noise = [] {
      Table made{};
      std::uint64_t state = 1;
      for (std::byte& one : made) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        one = static_cast<std::byte>(state >> 56);
      }
      return made;
    }();
    return noise;
  }

  [[nodiscard]] const std::byte* chunk(std::size_t at) const noexcept {
    return table().data() + (number_ * 97 + at / kChunk * 31) % kChunk;
  }

  std::uint64_t number_;
};

/// Whether every byte of a range has the same value.
[[nodiscard]] inline ::testing::AssertionResult all_bytes_are(const void* at, std::size_t bytes,
                                                              unsigned value) {
  const auto* from = static_cast<const unsigned char*>(at);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (from[i] == value) continue;
    return ::testing::AssertionFailure()
           << "byte " << i << " of " << bytes << " is " << unsigned{from[i]};
  }
  return ::testing::AssertionSuccess();
}

}  // namespace tapedeck::tests
