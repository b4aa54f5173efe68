// SPDX-License-Identifier: Apache-2.0
/// @file
/// `FileReader`: reads the header of an untrusted file from the start, through a buffer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include "os/file.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

/// The advice for a file that ends too early, and for an empty one.
inline constexpr const char* kCutOff = "the file is cut off: copy or download it again";
inline constexpr const char* kCopyAgain = "copy or download it again";

/// Reads a file forward. Reading or skipping beyond its end throws FormatError before any memory is
/// allocated for the bytes. Skipped bytes are not read.
class FileReader {
 public:
  /// @throws SystemError; InvalidArgument if it is not a regular file.
  explicit FileReader(const std::filesystem::path& path);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return file_.facts.bytes; }
  [[nodiscard]] std::uint64_t stamp() const noexcept {
    return file_.facts.stamp;
  }  ///< Of `os::FileFacts`.
  [[nodiscard]] std::uint64_t offset() const noexcept { return buffer_begin_ + at_; }
  [[nodiscard]] std::uint64_t left() const noexcept { return size() - offset(); }
  /// The bytes of a range, as far as it is in the file, that were never written: `os::hole_bytes`.
  [[nodiscard]] std::uint64_t unwritten(std::uint64_t begin, std::uint64_t end) const noexcept {
    return os::hole_bytes(file_.descriptor.get(), begin, std::min(end, size()));
  }

  /// @param what  the item being read, for the error if the file ends inside it: "a tensor's name".
  void read(std::span<std::byte> into, const char* what) {
    if (into.size() > filled_ - at_) return read_across(into, what);
    // Not memcpy: zero bytes may be read into an empty vector, whose pointer may be null.
    std::copy_n(buffer_.get() + at_, into.size(), into.data());
    at_ += into.size();
  }

  /// Reads a little-endian number.
  template <class T>
  [[nodiscard]] T number(const char* what) {
    static_assert(std::is_arithmetic_v<T>);
    T value{};
    read(std::as_writable_bytes(std::span(&value, 1)), what);
    return value;
  }

  [[nodiscard]] std::string text(std::uint64_t length, const char* what);

  void skip(std::uint64_t bytes, const char* what) {
    if (bytes > filled_ - at_) return skip_across(bytes, what);
    at_ += static_cast<std::size_t>(bytes);
  }

  /// The next buffered bytes, without consuming them; at least one unless the file is at its end.
  /// They are valid until the next call of any other function.
  [[nodiscard]] std::span<const std::byte> peek();

  /// @throws FormatError if the file is empty.
  void require_content(const char* advice) const {
    if (size() == 0)
      throw_format_error({.fault = FormatFault::cut_off}, "the file is empty", advice);
  }

  /// The facts of a FormatError except the path.
  struct Fault {
    std::uint64_t offset = 0;
    std::string field{};
    FormatFault fault = FormatFault::malformed;
  };
  [[noreturn]] void throw_format_error(Fault fault, const std::string& message,
                                       std::string advice = {}) const;

 private:
  void read_across(std::span<std::byte> into, const char* what);
  void skip_across(std::uint64_t bytes, const char* what);
  void require(std::uint64_t bytes, const char* what) const;
  [[noreturn]] void throw_cut_off(std::uint64_t offset, const char* inside) const;
  void refill();

  std::string path_;
  os::OpenedFile file_;
  std::size_t capacity_;
  std::unique_ptr<std::byte[]> buffer_;
  std::uint64_t buffer_begin_ = 0;
  std::size_t filled_ = 0;
  std::size_t at_ = 0;
};

}  // namespace tapedeck::internal
