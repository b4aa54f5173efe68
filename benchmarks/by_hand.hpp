// SPDX-License-Identifier: Apache-2.0
/// @file
/// The peers of loading: handwritten code that uses system calls directly, as in an engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace by_hand {

enum class Pages : std::uint8_t {
  ordinary,   ///< 4 KiB pages, not populated.
  populated,  ///< 4 KiB pages, populated by MAP_POPULATE.
  huge,       ///< Transparent huge pages, not populated.
};

/// Memory from mmap.
class Arena {
 public:
  Arena(std::size_t bytes, Pages pages);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;
  ~Arena();

  [[nodiscard]] std::span<std::byte> span() const { return {at_, bytes_}; }
  /// Calls MADV_POPULATE_WRITE in several threads, each for its part of the memory.
  void populate(unsigned threads) const;

 private:
  friend Arena map_populated(const std::filesystem::path& path);
  Arena(std::byte* at, std::size_t bytes) : at_(at), bytes_(bytes) {}

  std::byte* at_;
  std::size_t bytes_;
};

/// Maps a file shared, and populates the mapping with MADV_POPULATE_READ.
[[nodiscard]] Arena map_populated(const std::filesystem::path& path);

/// Reads a file with O_DIRECT, with eight reads of 8 MiB in flight: through io_uring, or in eight
/// threads if io_uring is not available.
void read_directly(const std::filesystem::path& path, std::span<std::byte> into);

/// Reads a file with read() in steps of 8 MiB.
void read_buffered(const std::filesystem::path& path, std::span<std::byte> into);

}  // namespace by_hand
