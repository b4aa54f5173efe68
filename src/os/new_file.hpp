/// @file
/// `NewFile`: a file that is there as a whole, or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Written under a name of its own beside the final one, and gone unless it was put in place; until
/// then a file that has the final name stays as it is.
///
/// Thread-safety: one thread at a time.
///
///     NewFile file("recording.jsonl");  // now it is known that the folder takes it
///     file.write(bytes);
///     file.put_in_place();
class NewFile {
 public:
  /// @throws SystemError with the path where no file can be made there; InvalidArgument where what
  /// has the name is no regular file.
  explicit NewFile(std::filesystem::path path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// Writes all of it behind what is there. @throws SystemError: ENOSPC.
  void write(std::span<const std::byte> bytes);
  /// Gives it its name, in place of a file that has it. After the last `write`. @throws SystemError
  void put_in_place();

 private:
  [[noreturn]] void throw_system_error(const char* call, int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  os::Descriptor descriptor_;
  bool in_place_ = false;
};

}  // namespace tapedeck::internal
