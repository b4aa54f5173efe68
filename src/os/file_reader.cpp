// SPDX-License-Identifier: Apache-2.0
#include "os/file_reader.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace tapedeck::internal {

static_assert(std::endian::native == std::endian::little, "model files are read as they are");

namespace {

constexpr std::uint64_t kBuffer = std::uint64_t{64} << 10;

}  // namespace

FileReader::FileReader(const std::filesystem::path& path)
    : path_(path.string()),
      file_(os::open_regular_file(path)),
      capacity_(static_cast<std::size_t>(std::min(kBuffer, size()))),
      buffer_(std::make_unique<std::byte[]>(capacity_)) {}

std::string FileReader::text(std::uint64_t length, const char* what) {
  require(length, what);
  std::string text;
  // Reads in pieces, since the size that the file system reports may be wrong. Memory is allocated
  // only as bytes arrive.
  while (text.size() < length) {
    const std::size_t had = text.size();
    text.resize(had + static_cast<std::size_t>(std::min(length - had, kBuffer)));
    read(std::as_writable_bytes(std::span(text).subspan(had)), what);
  }
  return text;
}

std::span<const std::byte> FileReader::peek() {
  if (at_ == filled_) refill();
  return {buffer_.get() + at_, filled_ - at_};
}

void FileReader::throw_format_error(Fault fault, const std::string& message,
                                    std::string advice) const {
  throw FormatError({path_, fault.offset, std::move(fault.field), fault.fault}, message,
                    std::move(advice));
}

void FileReader::throw_cut_off(std::uint64_t offset, const char* inside) const {
  require_content(kCopyAgain);
  throw_format_error({.offset = offset, .field = inside, .fault = FormatFault::cut_off},
                     std::string("the file ends inside ") + inside, kCutOff);
}

void FileReader::read_across(std::span<std::byte> into, const char* what) {
  require(into.size(), what);
  while (!into.empty()) {
    if (at_ == filled_) refill();
    if (at_ == filled_) throw_cut_off(offset(), what);
    const std::size_t part = std::min(into.size(), filled_ - at_);
    std::memcpy(into.data(), buffer_.get() + at_, part);
    at_ += part;
    into = into.subspan(part);
  }
}

void FileReader::skip_across(std::uint64_t bytes, const char* what) {
  require(bytes, what);
  buffer_begin_ += at_ + bytes;
  filled_ = at_ = 0;
}

void FileReader::require(std::uint64_t bytes, const char* what) const {
  if (bytes > left()) throw_cut_off(size(), what);
}

void FileReader::refill() {
  buffer_begin_ += filled_;
  filled_ = at_ = 0;
  const os::Transferred got =
      os::read_at(file_.descriptor.get(), {buffer_.get(), capacity_}, buffer_begin_);
  if (got.error != 0) throw SystemError({.call = "pread", .number = got.error, .path = path_});
  // If the file grows meanwhile, the additional bytes are ignored.
  filled_ = static_cast<std::size_t>(std::min<std::uint64_t>(got.bytes, size() - buffer_begin_));
}

}  // namespace tapedeck::internal
