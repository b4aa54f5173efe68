/// @file
/// A file that is read and not trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>

#include "os/file.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {

class InputFile {
 public:
  /// @throws SystemError; InvalidArgument if it is no regular file.
  explicit InputFile(const std::filesystem::path& path);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Fills `into` from `offset`. @throws SystemError; FormatError where the file ends before.
  /// @param what  for that error: "w1", "the header".
  void read(std::uint64_t offset, std::span<std::byte> into, const char* what) const;

 private:
  std::string path_;
  os::Descriptor descriptor_;
  std::uint64_t size_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
