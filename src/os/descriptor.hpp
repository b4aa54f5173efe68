/// @file
/// `Descriptor`: what is open, and what is read from it and written to it.
#pragma once

#include <fcntl.h>

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

enum class OpenFor : int {
  /// A FIFO without a writer does not block.
  reading = O_RDONLY | O_NONBLOCK,
  /// Past the page cache: offsets, sizes and addresses of reads must be multiples of the device's
  /// block, which a page always is. EINVAL from file systems that cannot.
  direct_reading = reading | O_DIRECT,
  /// Of what is no symbolic link: ELOOP.
  reading_no_link = reading | O_NOFOLLOW,
  /// The file is created or truncated.
  writing = O_WRONLY | O_CREAT | O_TRUNC,
  /// A file in the folder that is named, without a name and for this user alone: gone with its
  /// descriptor, unless `give_name` names it.
  unnamed_file = O_RDWR | O_TMPFILE,
};
[[nodiscard]] Opened open(const std::filesystem::path& path, OpenFor what) noexcept;
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
