/// @file
/// `Descriptor`: what is open, and what is read from it and written to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();

  [[nodiscard]] int get() const noexcept { return number_; }
  /// Leaves it to somebody else to close.
  int release() noexcept { return std::exchange(number_, -1); }
  explicit operator bool() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

struct Opened {
  Descriptor descriptor{};
  int error = 0;          ///< errno,
  const char* call = "";  ///< and whose it is.
};

/// What a call gave that makes a descriptor; where that is negative, errno.
[[nodiscard]] Opened opened_by(const char* call, int result) noexcept;

/// Opens /dev/null in the place of each of the descriptors 0 to 2 that is closed, so that no file
/// that is opened later is taken for one of them. Tells whether standard output was open. Before
/// anything else is opened.
[[nodiscard]] bool reserve_standard_streams() noexcept;

/// Opens for reading. A FIFO without a writer does not block.
[[nodiscard]] Opened open_read(const std::filesystem::path& path) noexcept;
/// Opens for reading past the page cache: offsets, sizes and addresses of reads must be multiples
/// of the device's block, which a page always is. EINVAL from file systems that cannot.
[[nodiscard]] Opened open_direct(const std::filesystem::path& path) noexcept;
/// Opens for reading what is no symbolic link: ELOOP.
[[nodiscard]] Opened open_no_link(const std::filesystem::path& path) noexcept;
/// Creates or truncates for writing.
[[nodiscard]] Opened open_write(const std::filesystem::path& path) noexcept;
/// A file in a folder, without a name and for this user alone: gone with its descriptor, unless
/// `give_name` names it.
[[nodiscard]] Opened create_unnamed(const std::filesystem::path& folder) noexcept;
[[nodiscard]] Opened duplicate(int descriptor) noexcept;

struct Transferred {
  std::size_t bytes = 0;  ///< Fewer than asked at the end of the file, or on an error.
  int error = 0;          ///< errno
};

/// Reads until the span is full or the file ends.
[[nodiscard]] Transferred read_at(int descriptor, std::span<std::byte> into,
                                  std::uint64_t offset) noexcept;
/// Writes all of it at the descriptor's position.
[[nodiscard]] Transferred write_all(int descriptor, std::span<const std::byte> from) noexcept;

[[nodiscard]] bool is_terminal(int descriptor) noexcept;

}  // namespace tapedeck::internal::os
