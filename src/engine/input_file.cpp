#include "engine/input_file.hpp"

#include <utility>

#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

InputFile::InputFile(const std::filesystem::path& path) : path_(path.string()) {
  os::Opened opened = os::open_read(path);
  if (opened.error != 0) throw SystemError({.call = "open", .number = opened.error, .path = path_});
  const os::FileFacts facts = os::facts(opened.descriptor.get());
  if (facts.error != 0) throw SystemError({.call = "fstat", .number = facts.error, .path = path_});
  if (!facts.regular) throw InvalidArgument(path_ + " is not a regular file");
  descriptor_ = std::move(opened.descriptor);
  size_ = facts.bytes;
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> into, const char* what) const {
  const os::Transferred got = os::read_at(descriptor_.get(), into, offset);
  if (got.error != 0) throw SystemError({.call = "pread", .number = got.error, .path = path_});
  if (got.bytes < into.size()) {
    throw FormatError(path_, offset + got.bytes, std::string("the file ends inside ") + what,
                      "it is cut off: copy or download it again");
  }
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
