// SPDX-License-Identifier: Apache-2.0
#include "os/process.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "os/descriptor.hpp"
#include "os/faults.hpp"
#include "os/proc_text.hpp"

namespace tapedeck::internal::os {
namespace {

/// Parses /proc/PID/stat; the field numbers are those of proc(5).
ProcessStat parse_stat(std::string_view line) {
  constexpr std::size_t kName = 2;  // may contain any character; ends at the last ')'
  constexpr std::size_t kState = 3;
  constexpr std::size_t kMinorFaults = 10;
  constexpr std::size_t kMajorFaults = 12;
  constexpr std::size_t kStart = 22;
  std::istringstream rest(std::string(line.substr(std::min(line.rfind(')'), line.size()))));
  std::vector<std::string> fields(kName);
  fields.insert(fields.end(), std::istream_iterator<std::string>(rest), {});
  fields.resize(std::max(fields.size(), kStart + 1));
  const std::string& state = fields[kState];
  const auto minor = parse<std::uint64_t>(fields[kMinorFaults]);
  const auto major = parse<std::uint64_t>(fields[kMajorFaults]);
  const auto start = parse<std::uint64_t>(fields[kStart]);
  if (state.size() != 1 || !minor || !major || !start) return {.error = EINVAL, .call = "pread"};
  return {.alive = state != "Z" && state != "X",
          .start = *start,
          .faults = {.minor = *minor, .major = *major}};
}

}  // namespace

ProcessStat process_stat(const std::string& process, const KernelRoots& roots) {
  const Opened file = open(roots.proc + "/" + process + "/stat", OpenFor::reading);
  if (file.error != 0) return {.error = file.error, .call = file.call};
  std::array<std::byte, 4096> line;
  const Transferred got = read_at(file.descriptor.get(), line, 0);
  // A process that ends between the two calls does not exist any more, either.
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

std::vector<std::string> process_arguments(const KernelRoots& roots) {
  std::vector<std::string> arguments;
  any_part(read_text(roots.proc + "/self/cmdline"), '\0', [&](std::string_view argument) {
    arguments.emplace_back(argument);
    return false;
  });
  return arguments;
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (injected("gethostname") != 0 || ::gethostname(name.data(), HOST_NAME_MAX) != 0) return {};
  return name.data();
}

}  // namespace tapedeck::internal::os
