#include "os/process.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>

#include "os/descriptor.hpp"
#include "os/faults.hpp"
#include "os/proc_text.hpp"

namespace tapedeck::internal::os {
namespace {

/// The words of the line behind the name, which may contain anything.
class Words {
 public:
  explicit Words(std::string_view line) {
    const std::size_t name_end = line.rfind(')');
    if (name_end != std::string_view::npos) rest_ = line.substr(name_end + 1);
  }

  /// Field N of proc(5), in rising order; empty where the line ends before it.
  std::string_view field(int number) {
    std::string_view word;
    for (; next_ <= number; ++next_) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
      word = rest_.substr(0, rest_.find_first_of(" \n"));
      rest_.remove_prefix(word.size());
    }
    return word;
  }

 private:
  std::string_view rest_;
  int next_ = 3;
};

ProcessStat parse_stat(std::string_view line) {
  constexpr int kState = 3;
  constexpr int kMinorFaults = 10;
  constexpr int kMajorFaults = 12;
  constexpr int kStart = 22;
  Words words(line);
  const std::string_view state = words.field(kState);
  const auto minor = parse<std::uint64_t>(words.field(kMinorFaults));
  const auto major = parse<std::uint64_t>(words.field(kMajorFaults));
  const auto start = parse<std::uint64_t>(words.field(kStart));
  if (state.size() != 1 || !minor || !major || !start) return {.error = EINVAL, .call = "pread"};
  return {.alive = state != "Z" && state != "X",
          .start = *start,
          .faults = {.minor = *minor, .major = *major}};
}

}  // namespace

ProcessStat process_stat(const std::string& process, const KernelRoots& roots) {
  const Opened file = open_read(roots.proc + "/" + process + "/stat");
  if (file.error != 0) return {.error = file.error, .call = file.call};
  std::array<std::byte, 4096> line;
  const Transferred got = read_at(file.descriptor.get(), line, 0);
  // One that ends between the two calls is gone, too.
  if (got.error != 0) return {.error = got.error == ESRCH ? ENOENT : got.error, .call = "pread"};
  return parse_stat({reinterpret_cast<const char*>(line.data()), got.bytes});
}

std::int32_t thread_id() noexcept { return ::gettid(); }

std::int32_t process_id() noexcept { return ::getpid(); }

std::uint64_t pid_namespace() noexcept {
  struct stat status {};
  if (injected("stat") != 0 || ::stat("/proc/self/ns/pid", &status) != 0) return 0;
  return status.st_ino;
}

}  // namespace tapedeck::internal::os
