// SPDX-License-Identifier: Apache-2.0
#include "os/file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <initializer_list>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/amounts.hpp"
#include "os/faults.hpp"
#include "os/file_size_limit.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::os {
namespace {

// FNV-1a over words instead of bytes.
std::uint64_t hash_of(std::initializer_list<std::uint64_t> words) noexcept {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const std::uint64_t word : words) hash = (hash ^ word) * 0x100000001B3U;
  return hash;
}

FileFacts facts_of(const struct stat& status) noexcept {
  const auto size = static_cast<std::uint64_t>(status.st_size);
  return {.bytes = size,
          .regular = S_ISREG(status.st_mode),
          .link = S_ISLNK(status.st_mode),
          .owned = status.st_uid == ::geteuid(),
          .owner_only = (status.st_mode & (S_IRWXG | S_IRWXO)) == 0,
          .permissions = status.st_mode & 07777U,
          .stamp = hash_of({status.st_dev, status.st_ino, size,
                            static_cast<std::uint64_t>(status.st_mtim.tv_sec),
                            static_cast<std::uint64_t>(status.st_mtim.tv_nsec)})};
}

struct flock whole_file() noexcept {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

using Kind = FileSystem::Kind;
using Cache = FileSystem::Cache;

struct KnownFileSystem {
  std::uint32_t magic;
  const char* name;
  Kind kind;
  Cache cache = Cache::own_pages;
};

// From linux/magic.h and the file systems' own sources. overlay, and fuse with passthrough, read
// and map the file below, whose pages are cached: their own file has none. zfs and gpfs have caches
// of their own, and hugetlbfs has the host's pool.
constexpr KnownFileSystem kKnownFileSystems[] = {
    {0xEF53, "ext4", Kind::disk},
    {0x58465342, "xfs", Kind::disk},
    {0x9123683E, "btrfs", Kind::disk},
    {0xF2F52010, "f2fs", Kind::disk},
    {0x2FC12FC1, "zfs", Kind::disk, Cache::elsewhere},
    {0x794C7630, "overlay", Kind::disk, Cache::mapped_pages},
    {0x73717368, "squashfs", Kind::disk},
    {0xE0F5E1E2, "erofs", Kind::disk},
    {TMPFS_MAGIC, "tmpfs", Kind::memory},
    {RAMFS_MAGIC, "ramfs", Kind::memory},
    {HUGETLBFS_MAGIC, "hugetlbfs", Kind::memory, Cache::elsewhere},
    {0x6969, "nfs", Kind::network},
    {0xFF534D42, "cifs", Kind::network},
    {0xFE534D42, "smb3", Kind::network},
    {0x65735546, "fuse", Kind::network, Cache::mapped_pages},
    {0x01021997, "9p", Kind::network},
    {0x00C36400, "ceph", Kind::network},
    {0x0BD00BD0, "lustre", Kind::network},
    {0x47504653, "gpfs", Kind::network, Cache::elsewhere},
};

const KnownFileSystem* known_file_system(std::uint32_t magic) noexcept {
  const auto* const known = std::ranges::find(kKnownFileSystems, magic, &KnownFileSystem::magic);
  return known == std::end(kKnownFileSystems) ? nullptr : known;
}

std::optional<std::uint32_t> magic_of(int descriptor) noexcept {
  struct statfs status {};
  if (injected("fstatfs") != 0 || ::fstatfs(descriptor, &status) != 0) return std::nullopt;
  return static_cast<std::uint32_t>(status.f_type);
}

// Whether a file's pages are the storage itself. Unknown before Linux 5.8.
bool is_dax(int descriptor) noexcept {
  struct statx status {};
  const int error = errno_of(
      "statx", [&] { return ::statx(descriptor, "", AT_EMPTY_PATH, STATX_TYPE, &status); });
  return error == 0 && (status.stx_attributes & STATX_ATTR_DAX) != 0;
}

}  // namespace

int give_name(int descriptor, const std::filesystem::path& path) noexcept {
  std::array<char, 32> unnamed{};
  std::snprintf(unnamed.data(), unnamed.size(), "/proc/self/fd/%d", descriptor);
  return errno_of("linkat", [&] {
    return ::linkat(AT_FDCWD, unnamed.data(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW);
  });
}

int allocate(int descriptor, std::size_t bytes) noexcept {
  const WithoutSizeSignal guard;
  return errno_of("fallocate",
                  [=] { return ::fallocate(descriptor, 0, 0, static_cast<off_t>(bytes)); });
}

FileFacts facts(int descriptor) noexcept {
  struct stat status {};
  const int error = errno_of("fstat", [&] { return ::fstat(descriptor, &status); });
  return error == 0 ? facts_of(status) : FileFacts{.error = error};
}

FileFacts facts(const std::filesystem::path& path) noexcept {
  struct stat status {};
  const int error = errno_of("stat", [&] { return ::stat(path.c_str(), &status); });
  return error == 0 ? facts_of(status) : FileFacts{.error = error};
}

FileFacts facts_of_name(const std::filesystem::path& path) noexcept {
  struct stat status {};
  const int error = errno_of("lstat", [&] { return ::lstat(path.c_str(), &status); });
  return error == 0 ? facts_of(status) : FileFacts{.error = error};
}

int lock_file(int descriptor) noexcept {
  struct flock whole = whole_file();
  return errno_of("fcntl", [&] { return ::fcntl(descriptor, F_OFD_SETLK, &whole); });
}

std::optional<bool> is_locked(int descriptor) noexcept {
  struct flock whole = whole_file();
  if (errno_of("fcntl", [&] { return ::fcntl(descriptor, F_OFD_GETLK, &whole); }) != 0) return {};
  return whole.l_type != F_UNLCK;
}

int set_permissions(int descriptor, unsigned permissions) noexcept {
  return errno_of("fchmod", [=] { return ::fchmod(descriptor, permissions); });
}

OpenedFile open_file(const std::filesystem::path& path, std::size_t descriptors) {
  Opened opened = open(path, OpenFor::reading);
  if (opened.error != 0) {
    throw SystemError({.call = opened.call, .number = opened.error, .path = path.string()},
                      advice_to_open(opened.error, descriptors));
  }
  const FileFacts found = facts(opened.descriptor.get());
  if (found.error != 0) {
    throw SystemError({.call = "fstat", .number = found.error, .path = path.string()});
  }
  return {.descriptor = std::move(opened.descriptor), .facts = found};
}

OpenedFile open_regular_file(const std::filesystem::path& path) {
  OpenedFile file = open_file(path);
  if (!file.facts.regular) {
    throw InvalidArgument({.argument = "path"}, path.string() + " is not a regular file");
  }
  return file;
}

FileSystem file_system(int descriptor) {
  const std::optional<std::uint32_t> magic = magic_of(descriptor);
  if (!magic) return {.name = "an unknown file system"};
  const KnownFileSystem* const known = known_file_system(*magic);
  if (known == nullptr) return {.name = "file system " + std::to_string(*magic)};
  return {.kind = known->kind, .name = known->name};
}

FileSystem::Cache cache_of(int descriptor) noexcept {
  const std::optional<std::uint32_t> magic = magic_of(descriptor);
  const KnownFileSystem* const known = magic ? known_file_system(*magic) : nullptr;
  const bool memory = known != nullptr && known->kind == Kind::memory;
  return cache_of(magic, !memory && is_dax(descriptor));
}

// mincore of a mapping of a DAX file reports pages that are mapped, which are those of the storage.
FileSystem::Cache cache_of(std::optional<std::uint32_t> magic, bool dax) noexcept {
  if (dax) return Cache::elsewhere;
  const KnownFileSystem* const known = magic ? known_file_system(*magic) : nullptr;
  return known == nullptr ? Cache::mapped_pages : known->cache;
}

std::uint64_t hole_bytes(int descriptor, std::uint64_t begin, std::uint64_t end) noexcept {
  constexpr int kMostHoles = 65536;  // a file may have one in every other block
  int error = 0;
  const auto seek = [&](std::uint64_t from, int what) -> std::optional<std::uint64_t> {
    off_t found = 0;
    error = errno_of("lseek",
                     [&] { return found = ::lseek(descriptor, static_cast<off_t>(from), what); });
    return error == 0 ? std::optional(static_cast<std::uint64_t>(found)) : std::nullopt;
  };
  std::uint64_t bytes = 0;
  for (int holes = 0; begin < end && holes < kMostHoles; ++holes) {
    const auto hole = seek(begin, SEEK_HOLE);  // the end of the file counts as one
    if (!hole || *hole >= end) break;
    const auto data = seek(*hole, SEEK_DATA);
    if (!data && error != ENXIO) break;
    begin = std::min(data.value_or(end), end);  // ENXIO: no data follows
    bytes += begin - *hole;
  }
  return bytes;
}

void read_ahead(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept {
  static_cast<void>(::posix_fadvise(descriptor, static_cast<off_t>(offset),
                                    static_cast<off_t>(bytes), POSIX_FADV_WILLNEED));
}

void drop_cached(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept {
  static_cast<void>(::posix_fadvise(descriptor, static_cast<off_t>(offset),
                                    static_cast<off_t>(bytes), POSIX_FADV_DONTNEED));
}

std::string advice_to_open(int error, std::size_t more) {
  if (error == ENFILE)
    return "the host has reached /proc/sys/fs/file-max; close files, or raise it";
  rlimit limit{};
  if (error != EMFILE || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  return "this process may have " + count_of(limit.rlim_cur, "file") + " open and needs up to " +
         std::to_string(more) + " more; raise the limit (ulimit -n " +
         std::to_string(limit.rlim_cur + more) + ")";
}

int rename_file(const std::filesystem::path& from, const std::filesystem::path& to) noexcept {
  return errno_of("rename", [&] { return std::rename(from.c_str(), to.c_str()); });
}

int remove_file(const std::filesystem::path& path) noexcept {
  return errno_of("unlink", [&] { return ::unlink(path.c_str()); });
}

Listed list_folder(const std::filesystem::path& folder) {
  if (const int error = injected("opendir")) return {.error = error};
  Listed listed;
  std::error_code error;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    listed.names.push_back(entry->path().filename().string());
  }
  listed.error = error.value();
  return listed;
}

std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) noexcept {
  if (injected("statvfs") != 0) return std::nullopt;
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  return error ? std::nullopt : std::optional<std::uint64_t>(space.available);
}

}  // namespace tapedeck::internal::os
