/// @file
/// The peers of loading: what an engine's author would write with the bare system calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace by_hand {

enum class Pages : std::uint8_t {
  ordinary,   ///< 4 KiB, untouched.
  populated,  ///< 4 KiB, by MAP_POPULATE.
  huge,       ///< Transparent huge pages, untouched.
};

/// Memory from mmap.
class Arena {
 public:
  Arena(std::size_t bytes, Pages pages);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;
  ~Arena();

  [[nodiscard]] std::span<std::byte> span() const { return {at_, bytes_}; }
  /// MADV_POPULATE_WRITE, each thread its part.
  void populate(unsigned threads) const;

 private:
  friend Arena map_populated(const std::filesystem::path& path);
  Arena(std::byte* at, std::size_t bytes) : at_(at), bytes_(bytes) {}

  std::byte* at_;
  std::size_t bytes_;
};

/// A shared mapping of a file, and MADV_POPULATE_READ.
[[nodiscard]] Arena map_populated(const std::filesystem::path& path);

/// O_DIRECT with eight reads of 8 MiB under way at a time, through io_uring; by eight threads where
/// that is not there.
void read_directly(const std::filesystem::path& path, std::span<std::byte> into);

/// read() of 8 MiB at a time.
void read_buffered(const std::filesystem::path& path, std::span<std::byte> into);

}  // namespace by_hand
