// SPDX-License-Identifier: Apache-2.0
#include "os/descriptor.hpp"

#include <unistd.h>

#include <cerrno>

#include "os/faults.hpp"
#include "os/file_size_limit.hpp"

namespace tapedeck::internal::os {

Opened opened_by(const char* call, int result) noexcept {
  if (result < 0) return {.error = errno, .call = call};
  return {.descriptor = Descriptor(result)};
}

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

bool reserve_standard_streams() noexcept {
  bool has_output = true;
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) >= 0) continue;
    if (number == STDOUT_FILENO) has_output = false;
    // open() returns the lowest free number, which is this one: the lower ones are open by now.
    static_cast<void>(::open("/dev/null", O_RDWR));  // NOLINT(android-cloexec-open): kept
  }
  return has_output;
}

Opened open(const std::filesystem::path& path, OpenFor what) noexcept {
  if (const int error = injected("open")) return {.error = error, .call = "open"};
  const mode_t mode = what == OpenFor::unnamed_file ? 0600 : 0666;
  return opened_by("open", ::open(path.c_str(), static_cast<int>(what) | O_CLOEXEC, mode));
}

Opened duplicate(int descriptor) noexcept {
  if (const int error = injected("fcntl")) return {.error = error, .call = "fcntl"};
  return opened_by("fcntl", ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
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
  const WithoutSizeSignal guard;
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

bool is_terminal(int descriptor) noexcept { return ::isatty(descriptor) == 1; }

}  // namespace tapedeck::internal::os
