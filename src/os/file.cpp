#include "os/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "os/faults.hpp"

namespace tapedeck::internal::os {
namespace {

Opened opened(int result, const char* call) noexcept {
  if (result < 0) return {.error = errno, .call = call};
  return {.descriptor = Descriptor(result)};
}

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;

// FNV-1a, over the words.
std::uint64_t hash_of(std::initializer_list<std::uint64_t> words) noexcept {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const std::uint64_t word : words) hash = (hash ^ word) * 0x100000001B3U;
  return hash;
}

FileFacts facts_of(const struct stat& status) noexcept {
  const auto size = static_cast<std::uint64_t>(status.st_size);
  return {.bytes = size,
          .regular = S_ISREG(status.st_mode),
          .owned = status.st_uid == ::geteuid(),
          .owner_only = (status.st_mode & (S_IRWXG | S_IRWXO)) == 0,
          .stamp = hash_of({status.st_dev, status.st_ino, size,
                            static_cast<std::uint64_t>(status.st_mtim.tv_sec),
                            static_cast<std::uint64_t>(status.st_mtim.tv_nsec)})};
}

using Kind = FileSystem::Kind;

struct KnownFileSystem {
  std::uint32_t magic;
  const char* name;
  Kind kind;
};

// From linux/magic.h and the file systems' own sources.
constexpr std::array kKnownFileSystems = {
    KnownFileSystem{0xEF53, "ext4", Kind::disk},
    KnownFileSystem{0x58465342, "xfs", Kind::disk},
    KnownFileSystem{0x9123683E, "btrfs", Kind::disk},
    KnownFileSystem{0xF2F52010, "f2fs", Kind::disk},
    KnownFileSystem{0x2FC12FC1, "zfs", Kind::disk},
    KnownFileSystem{0x794C7630, "overlay", Kind::disk},
    KnownFileSystem{0x73717368, "squashfs", Kind::disk},
    KnownFileSystem{0xE0F5E1E2, "erofs", Kind::disk},
    KnownFileSystem{TMPFS_MAGIC, "tmpfs", Kind::memory},
    KnownFileSystem{RAMFS_MAGIC, "ramfs", Kind::memory},
    KnownFileSystem{HUGETLBFS_MAGIC, "hugetlbfs", Kind::memory},
    KnownFileSystem{0x6969, "nfs", Kind::network},
    KnownFileSystem{0xFF534D42, "cifs", Kind::network},
    KnownFileSystem{0xFE534D42, "smb3", Kind::network},
    KnownFileSystem{0x65735546, "fuse", Kind::network},
    KnownFileSystem{0x01021997, "9p", Kind::network},
    KnownFileSystem{0x00C36400, "ceph", Kind::network},
    KnownFileSystem{0x0BD00BD0, "lustre", Kind::network},
    KnownFileSystem{0x47504653, "gpfs", Kind::network},
};

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

bool reserve_standard_streams() noexcept {
  bool has_output = true;
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) >= 0) continue;
    if (number == STDOUT_FILENO) has_output = false;
    // The least that is free, which is this one: those before it are open by now.
    static_cast<void>(::open("/dev/null", O_RDWR));  // NOLINT(android-cloexec-open): kept
  }
  return has_output;
}

Opened open_read(const std::filesystem::path& path) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), "open");
}

Opened open_no_link(const std::filesystem::path& path) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW), "open");
}

Opened open_direct(const std::filesystem::path& path) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_DIRECT), "open");
}

Opened open_write(const std::filesystem::path& path) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), "open");
}

Opened create_unnamed(const std::filesystem::path& folder) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600), "open");
}

int give_name(int descriptor, const std::filesystem::path& path) noexcept {
  if (const int error = injected("linkat")) return error;
  std::array<char, 32> unnamed{};
  std::snprintf(unnamed.data(), unnamed.size(), "/proc/self/fd/%d", descriptor);
  const int result = ::linkat(AT_FDCWD, unnamed.data(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW);
  return result == 0 ? 0 : errno;
}

int allocate(int descriptor, std::size_t bytes) noexcept {
  if (const int error = injected("fallocate")) return error;
  return ::fallocate(descriptor, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

Opened duplicate(int descriptor) noexcept {
  if (const int error = injected("fcntl")) return {.error = error, .call = "fcntl"};
  return opened(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0), "fcntl");
}

Opened create_memory_file(const char* name, std::size_t bytes, std::size_t huge_page,
                          bool sealable) noexcept {
  if (const int error = injected("memfd_create")) return {.error = error, .call = "memfd_create"};
  unsigned flags = MFD_CLOEXEC | (sealable ? MFD_ALLOW_SEALING : 0U);
  if (huge_page != 0) {
    flags |= MFD_HUGETLB | static_cast<unsigned>(std::countr_zero(huge_page)) << MAP_HUGE_SHIFT;
  }
  Opened file = opened(::memfd_create(name, flags), "memfd_create");
  if (file.error != 0) return file;
  if (const int error = injected("ftruncate")) return {.error = error, .call = "ftruncate"};
  if (::ftruncate(file.descriptor.get(), static_cast<off_t>(bytes)) != 0)
    return {.error = errno, .call = "ftruncate"};
  return file;
}

int seal(int descriptor) noexcept {
  if (const int error = injected("fcntl")) return error;
  return ::fcntl(descriptor, F_ADD_SEALS, kSeals | F_SEAL_SEAL) == 0 ? 0 : errno;
}

Sealed is_sealed(int descriptor) noexcept {
  if (const int error = injected("fcntl")) return {.error = error};
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  if (seals < 0) return {.error = errno == EINVAL ? 0 : errno};
  return {.sealed = (seals & kSeals) == kSeals};
}

FileFacts facts(int descriptor) noexcept {
  if (const int error = injected("fstat")) return {.error = error};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return {.error = errno};
  return facts_of(status);
}

FileFacts facts(const std::filesystem::path& path) noexcept {
  if (const int error = injected("stat")) return {.error = error};
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {.error = errno};
  return facts_of(status);
}

std::size_t huge_page_of(int descriptor) noexcept {
  struct statfs status {};
  if (::fstatfs(descriptor, &status) != 0 || status.f_type != HUGETLBFS_MAGIC) return 0;
  return static_cast<std::size_t>(status.f_bsize);
}

FileSystem file_system(int descriptor) {
  struct statfs status {};
  if (injected("fstatfs") != 0 || ::fstatfs(descriptor, &status) != 0) {
    return {.name = "a file system that is not told"};
  }
  const auto magic = static_cast<std::uint32_t>(status.f_type);
  for (const KnownFileSystem& known : kKnownFileSystems) {
    if (known.magic == magic) return {.kind = known.kind, .name = known.name};
  }
  return {.name = "file system " + std::to_string(magic)};
}

void read_ahead(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept {
  static_cast<void>(::posix_fadvise(descriptor, static_cast<off_t>(offset),
                                    static_cast<off_t>(bytes), POSIX_FADV_WILLNEED));
}

Transferred read_at(int descriptor, std::span<std::byte> into, std::uint64_t offset) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    if (const int error = injected("pread")) return {.bytes = done, .error = error};
    const ssize_t got = ::pread(descriptor, into.data() + done, into.size() - done,
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {.bytes = done, .error = errno};
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return {.bytes = done};
}

Transferred write_all(int descriptor, std::span<const std::byte> from) noexcept {
  std::size_t done = 0;
  while (done < from.size()) {
    if (const int error = injected("write")) return {.bytes = done, .error = error};
    const ssize_t put = ::write(descriptor, from.data() + done, from.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return {.bytes = done, .error = errno};
    done += static_cast<std::size_t>(put);
  }
  return {.bytes = done};
}

int rename_file(const std::filesystem::path& from, const std::filesystem::path& to) noexcept {
  if (const int error = injected("rename")) return error;
  return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

int remove_file(const std::filesystem::path& path) noexcept {
  if (const int error = injected("unlink")) return error;
  return ::unlink(path.c_str()) == 0 ? 0 : errno;
}

Listed list_folder(const std::filesystem::path& folder) {
  if (const int error = injected("opendir")) return {.error = error};
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder.c_str()), ::closedir);
  if (!open) return {.error = errno};
  Listed listed;
  errno = 0;
  while (const dirent* const entry = ::readdir(open.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") listed.names.emplace_back(name);
    errno = 0;
  }
  listed.error = errno;
  return listed;
}

std::optional<std::uint64_t> free_bytes(const std::filesystem::path& folder) noexcept {
  struct statvfs status {};
  if (injected("statvfs") != 0 || ::statvfs(folder.c_str(), &status) != 0) return std::nullopt;
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

bool is_terminal(int descriptor) noexcept { return ::isatty(descriptor) == 1; }

int punch_hole(int descriptor, std::uint64_t offset, std::size_t bytes) noexcept {
  if (const int error = injected("fallocate")) return error;
  const int result = ::fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 static_cast<off_t>(offset), static_cast<off_t>(bytes));
  return result == 0 ? 0 : errno;
}

}  // namespace tapedeck::internal::os
