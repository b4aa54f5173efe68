// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Descriptor`: an owner of a file descriptor, and functions to open, read and write one.
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
  /// Gives up ownership; the caller must close it.
  int release() noexcept { return std::exchange(number_, -1); }
  explicit operator bool() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

struct Opened {
  Descriptor descriptor{};
  int error = 0;          ///< errno; 0 for success.
  const char* call = "";  ///< The call that failed.
};

/// Wraps the result of a call that creates a descriptor. If it is negative, reads errno.
[[nodiscard]] Opened opened_by(const char* call, int result) noexcept;

/// Opens /dev/null for each of the descriptors 0 to 2 that is closed, so that no file opened later
/// is mistaken for a standard stream. Returns whether standard output was open. Call this before
/// opening anything else.
[[nodiscard]] bool reserve_standard_streams() noexcept;

enum class OpenFor : int {
  /// Does not block on a FIFO without a writer.
  reading = O_RDONLY | O_NONBLOCK,
  /// Bypasses the page cache. Offsets, sizes and addresses of reads must be multiples of the
  /// device's block size, which a page always is. Gives EINVAL on file systems without support.
  direct_reading = reading | O_DIRECT,
  /// Gives ELOOP for a symbolic link.
  reading_no_link = reading | O_NOFOLLOW,
  /// Gives EEXIST if there is a file or a link of that name.
  creating = O_WRONLY | O_CREAT | O_EXCL,
  /// Creates a file without a name, accessible to this user only. The path is that of its folder.
  /// The file disappears when its descriptor is closed, unless `give_name` names it.
  unnamed_file = O_RDWR | O_TMPFILE,
  /// The same, but only for writing, and accessible to others as a named file would be.
  creating_unnamed = O_WRONLY | O_TMPFILE,
};
[[nodiscard]] Opened open(const std::filesystem::path& path, OpenFor what) noexcept;
[[nodiscard]] Opened duplicate(int descriptor) noexcept;

struct Transferred {
  std::size_t bytes = 0;  ///< Fewer than requested at the end of the file or on an error.
  int error = 0;          ///< errno
};

/// Reads until the span is full or the file ends.
[[nodiscard]] Transferred read_at(int descriptor, std::span<std::byte> into,
                                  std::uint64_t offset) noexcept;
/// Writes all bytes at the descriptor's position.
[[nodiscard]] Transferred write_all(int descriptor, std::span<const std::byte> from) noexcept;

[[nodiscard]] bool is_terminal(int descriptor) noexcept;

}  // namespace tapedeck::internal::os
