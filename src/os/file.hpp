/// @file
/// Files and descriptors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

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
  explicit operator bool() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

struct Opened {
  Descriptor descriptor{};
  int error = 0;          ///< errno,
  const char* call = "";  ///< and whose it is.
};

/// Opens /dev/null in the place of each of the descriptors 0 to 2 that is closed, so that no file
/// that is opened later is taken for one of them. Tells whether standard output was open. Before
/// anything else is opened.
[[nodiscard]] bool reserve_standard_streams() noexcept;

/// Opens for reading. A FIFO without a writer does not block.
[[nodiscard]] Opened open_read(const std::filesystem::path& path) noexcept;
/// Opens for reading past the page cache: offsets, sizes and addresses of reads must be multiples
/// of the device's block, which a page always is. EINVAL from file systems that cannot.
[[nodiscard]] Opened open_direct(const std::filesystem::path& path) noexcept;
/// Opens for reading what is no symbolic link: ELOOP.
[[nodiscard]] Opened open_no_link(const std::filesystem::path& path) noexcept;
/// Creates or truncates for writing.
[[nodiscard]] Opened open_write(const std::filesystem::path& path) noexcept;
/// A file in a folder that nobody sees, for this user alone; gone with its descriptor unless it
/// gets a name.
[[nodiscard]] Opened create_unnamed(const std::filesystem::path& folder) noexcept;
/// EEXIST where something has the name. Gives errno.
[[nodiscard]] int give_name(int descriptor, const std::filesystem::path& path) noexcept;
/// Makes a file so long, and has all of it on the file system. Gives errno.
[[nodiscard]] int allocate(int descriptor, std::size_t bytes) noexcept;
[[nodiscard]] Opened duplicate(int descriptor) noexcept;
/// Anonymous memory behind a descriptor. `huge_page` 0, or the size of the hugetlb pages to use;
/// `sealable`: whether whoever has the descriptor may `seal` it.
[[nodiscard]] Opened create_memory_file(const char* name, std::size_t bytes, std::size_t huge_page,
                                        bool sealable = false) noexcept;
/// Nobody writes a memory file or changes its size any more. EBUSY while somebody has it mapped to
/// write. Gives errno.
[[nodiscard]] int seal(int descriptor) noexcept;
struct Sealed {
  bool sealed = false;  ///< False for what is no memory file.
  int error = 0;        ///< errno

  explicit operator bool() const noexcept { return sealed; }
};
[[nodiscard]] Sealed is_sealed(int descriptor) noexcept;

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

/// Bytes of the hugetlb pages behind a memory file; 0 where it has ordinary ones.
[[nodiscard]] std::size_t huge_page_of(int descriptor) noexcept;

struct Transferred {
  std::size_t bytes = 0;  ///< Fewer than asked at the end of the file, or on an error.
  int error = 0;          ///< errno
};

/// Reads until the span is full or the file ends.
[[nodiscard]] Transferred read_at(int descriptor, std::span<std::byte> into,
                                  std::uint64_t offset) noexcept;
/// Writes all of it at the descriptor's position.
[[nodiscard]] Transferred write_all(int descriptor, std::span<const std::byte> from) noexcept;

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

[[nodiscard]] bool is_terminal(int descriptor) noexcept;

/// Gives the pages of a range of a memory file back.
[[nodiscard]] int punch_hole(int descriptor, std::uint64_t offset, std::size_t bytes) noexcept;

}  // namespace tapedeck::internal::os
