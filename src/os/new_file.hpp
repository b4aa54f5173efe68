// SPDX-License-Identifier: Apache-2.0
/// @file
/// `NewFile`: a file that appears completely written, or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal {

/// Writes to a file that has no name until `put_in_place`, so that a process that is killed while
/// it writes leaves nothing behind. Where the file system has no such files, it is a temporary file
/// in the same folder, which the destructor removes. An existing file of that name is unchanged
/// until then. The new one gets its permissions; if the name is a symbolic link, the file that it
/// names is replaced.
///
/// Thread-safety: one thread at a time.
///
///     NewFile file("recording.jsonl");  // fails now if the folder is not writable
///     file.write(bytes);
///     file.put_in_place();
class NewFile {
 public:
  /// @throws SystemError with the path if no file can be created there; InvalidArgument if the path
  /// exists and is not a regular file.
  explicit NewFile(std::filesystem::path path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// Appends all bytes. @throws SystemError, for example ENOSPC.
  void write(std::span<const std::byte> bytes);
  /// Gives the file its final name and replaces an existing file. Call it after the last `write`.
  /// @throws SystemError
  void put_in_place();

 private:
  void follow_links();
  void create();
  void remove_temporary() noexcept;
  [[noreturn]] void throw_system_error(const char* call, int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  os::Descriptor descriptor_;
  bool named_ = false;  // whether there is a file `temporary_`
};

}  // namespace tapedeck::internal
