/// @file
/// Files by their names: what they are, and how they come and go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "os/descriptor.hpp"

namespace tapedeck::internal::os {

/// EEXIST where something has the name. Gives errno.
[[nodiscard]] int give_name(int descriptor, const std::filesystem::path& path) noexcept;
/// Makes a file so long, and has all of it on the file system. Gives errno.
[[nodiscard]] int allocate(int descriptor, std::size_t bytes) noexcept;
struct FileFacts {
  std::uint64_t bytes = 0;
  bool regular = false;
  bool owned = false;       ///< By the user that this process runs as,
  bool owner_only = false;  ///< and nobody else has rights.
  /// A hash of what tells a file from another one, or from itself once it was written: device,
  /// number, size, time of the last change.
  std::uint64_t stamp = 0;
  int error = 0;  ///< errno
};

[[nodiscard]] FileFacts facts(int descriptor) noexcept;
[[nodiscard]] FileFacts facts(const std::filesystem::path& path) noexcept;

/// A file that is open for reading, and what it was when it was opened.
struct OpenedFile {
  Descriptor descriptor{};
  FileFacts facts{};
};

/// Opens a file for reading. @throws SystemError
[[nodiscard]] OpenedFile open_file(const std::filesystem::path& path);
/// As `open_file`. @throws SystemError; InvalidArgument for what is no regular file.
[[nodiscard]] OpenedFile open_regular_file(const std::filesystem::path& path);

/// Gives errno, 0 for success. A file that has the new name is replaced, at once.
[[nodiscard]] int rename_file(const std::filesystem::path& from,
                              const std::filesystem::path& to) noexcept;
[[nodiscard]] int remove_file(const std::filesystem::path& path) noexcept;

struct Listed {
  std::vector<std::string> names{};
  int error = 0;  ///< errno
};
/// What is in a folder, but "." and "..", in no order.
[[nodiscard]] Listed list_folder(const std::filesystem::path& folder);

/// What a file lies on, as far as it matters for reading it.
struct FileSystem {
  enum class Kind : std::uint8_t { disk, memory, network };
  Kind kind = Kind::disk;
  std::string name{};  ///< "ext4", "tmpfs"; the number of one that is not known.
};
[[nodiscard]] FileSystem file_system(int descriptor);

/// Asks the kernel to read a range of a file ahead, and does not wait.
void read_ahead(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept;

/// What an ordinary user may still write in a folder's file system.
[[nodiscard]] std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) noexcept;

}  // namespace tapedeck::internal::os
