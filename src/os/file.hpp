// SPDX-License-Identifier: Apache-2.0
/// @file
/// Files by name: opening, inspecting, renaming and removing them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "os/descriptor.hpp"

namespace tapedeck::internal::os {

/// Names a file that was opened without a name. Returns errno, EEXIST if the name exists already.
[[nodiscard]] int give_name(int descriptor, const std::filesystem::path& path) noexcept;
/// Extends a file to `bytes` and allocates all of it on the file system. Returns errno.
[[nodiscard]] int allocate(int descriptor, std::size_t bytes) noexcept;
struct FileFacts {
  std::uint64_t bytes = 0;
  bool regular = false;
  bool link = false;         ///< A symbolic link; only `facts_of_name` finds one.
  bool owned = false;        ///< The file belongs to the user that this process runs as.
  bool owner_only = false;   ///< Users other than the owner have no permissions.
  unsigned permissions = 0;  ///< As chmod takes them.
  /// A hash that distinguishes a file from other files and from its own later versions. It covers
  /// the device, the inode number, the size and the time of the last modification.
  std::uint64_t stamp = 0;
  int error = 0;  ///< errno
};

[[nodiscard]] FileFacts facts(int descriptor) noexcept;
[[nodiscard]] FileFacts facts(const std::filesystem::path& path) noexcept;

/// A file that is open for reading, and its facts when it was opened.
struct OpenedFile {
  Descriptor descriptor{};
  FileFacts facts{};
};

/// Opens a file for reading. @throws SystemError
/// @param descriptors  how many descriptors the caller needs for this and what follows
[[nodiscard]] OpenedFile open_file(const std::filesystem::path& path, std::size_t descriptors = 1);
/// Opens a regular file for reading.
/// @throws SystemError; InvalidArgument if it is not a regular file.
[[nodiscard]] OpenedFile open_regular_file(const std::filesystem::path& path);

/// The facts of what has this name, also if it is a symbolic link. @see facts
[[nodiscard]] FileFacts facts_of_name(const std::filesystem::path& path) noexcept;

/// Locks a file until every copy of the descriptor is closed, also those of forked children: the
/// kernel unlocks it when the processes end, however they end. Returns errno.
[[nodiscard]] int lock_file(int descriptor) noexcept;
/// Whether another descriptor has locked the file by `lock_file`; nothing if the file system does
/// not support such locks.
[[nodiscard]] std::optional<bool> is_locked(int descriptor) noexcept;

/// Sets the permissions of a file. Returns errno.
[[nodiscard]] int set_permissions(int descriptor, unsigned permissions) noexcept;

/// Renames a file and atomically replaces a file that has the new name. Returns errno, or 0 for
/// success.
[[nodiscard]] int rename_file(const std::filesystem::path& from,
                              const std::filesystem::path& to) noexcept;
[[nodiscard]] int remove_file(const std::filesystem::path& path) noexcept;

struct Listed {
  std::vector<std::string> names{};
  int error = 0;  ///< errno
};
/// The names in a folder except "." and "..", in no particular order.
[[nodiscard]] Listed list_folder(const std::filesystem::path& folder);

/// The file system of a file, as far as it matters for reading.
struct FileSystem {
  enum class Kind : std::uint8_t { disk, memory, network };
  /// Where it keeps the bytes of a file that was read.
  enum class Cache : std::uint8_t {
    own_pages,     ///< In the page cache, as pages of that file.
    mapped_pages,  ///< In the page cache, but perhaps as pages of the file that a mapping leads to.
    elsewhere,     ///< Also in memory of its own, or nowhere (DAX); the kernel does not report it.
  };
  Kind kind = Kind::disk;
  std::string name{};  ///< "ext4", "tmpfs"; for an unknown one its number.
};
[[nodiscard]] FileSystem file_system(int descriptor);
/// `mapped_pages` for an unknown file system, since that is the way to ask which is right for both.
[[nodiscard]] FileSystem::Cache cache_of(int descriptor) noexcept;
/// The same from the number of the file system, if it is known, and from whether the file is
/// storage that is mapped directly (DAX).
[[nodiscard]] FileSystem::Cache cache_of(std::optional<std::uint32_t> magic, bool dax) noexcept;

/// The bytes of a range of a file that are in holes: the file system stores nothing for them, and
/// they read as zeros. That includes space that was allocated and never written. A lower bound if
/// the file has very many holes; 0 where the file system does not report them.
[[nodiscard]] std::uint64_t hole_bytes(int descriptor, std::uint64_t begin,
                                       std::uint64_t end) noexcept;

/// Removes the clean pages of a range from the page cache that no process has mapped. Ignored where
/// the file system has no page cache.
void drop_cached(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept;

/// What to do where the process or the host has no more descriptors; empty for other errors.
/// @param more  how many the caller still needs
[[nodiscard]] std::string advice_to_open(int error, std::size_t more = 1);

/// Asks the kernel to read a range of a file ahead. Does not wait for it.
void read_ahead(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept;

/// The bytes that an ordinary user may still write on a folder's file system.
[[nodiscard]] std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) noexcept;

}  // namespace tapedeck::internal::os
