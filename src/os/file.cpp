#include "os/file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>

#include "os/faults.hpp"

namespace tapedeck::inline TAPEDECK_ABI::os {
namespace {

Opened opened(int result, const char* call) noexcept {
  if (result < 0) return {.error = errno, .call = call};
  return {.descriptor = Descriptor(result)};
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

Opened open_read(const std::filesystem::path& path) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), "open");
}

Opened open_write(const std::filesystem::path& path) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  return opened(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), "open");
}

Opened duplicate(int descriptor) noexcept {
  if (const int error = injected("fcntl")) return {.error = error, .call = "fcntl"};
  return opened(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0), "fcntl");
}

Opened create_memory_file(const char* name, std::size_t bytes, std::size_t huge_page) noexcept {
  if (const int error = injected("memfd_create")) return {.error = error, .call = "memfd_create"};
  unsigned flags = MFD_CLOEXEC;
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

FileFacts facts(int descriptor) noexcept {
  if (const int error = injected("fstat")) return {.error = error};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return {.error = errno};
  return {.bytes = static_cast<std::uint64_t>(status.st_size), .regular = S_ISREG(status.st_mode)};
}

FileFacts facts(const std::filesystem::path& path) noexcept {
  if (const int error = injected("stat")) return {.error = error};
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {.error = errno};
  return {.bytes = static_cast<std::uint64_t>(status.st_size), .regular = S_ISREG(status.st_mode)};
}

std::size_t huge_page_of(int descriptor) noexcept {
  struct statfs status {};
  if (::fstatfs(descriptor, &status) != 0 || status.f_type != HUGETLBFS_MAGIC) return 0;
  return static_cast<std::size_t>(status.f_bsize);
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

}  // namespace tapedeck::inline TAPEDECK_ABI::os
