// SPDX-License-Identifier: Apache-2.0
/// @file
/// A memory cgroup for a test, v1 or v2, if this process may create one.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <system_error>

#include "os/child.hpp"
#include "os/self.hpp"

namespace tapedeck::tests {

/// A group with a limit, inside the group of this process. The destructor removes it; its processes
/// must have ended by then.
class MemoryCgroup {
 public:
  explicit MemoryCgroup(std::size_t limit) {
    std::istringstream lines(text_of("/proc/self/cgroup"));
    for (std::string line; std::getline(lines, line) && !ready();) try_line(line, limit);
  }
  ~MemoryCgroup() {
    std::error_code ignored;
    if (ready()) std::filesystem::remove(folder_, ignored);
  }
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  [[nodiscard]] bool ready() const { return !folder_.empty(); }
  /// Moves the calling process into the group.
  [[nodiscard]] bool enter() const { return put(folder_ / "cgroup.procs", "0"); }
  /// The name of the group in /proc/self/cgroup.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& limit_file() const { return limit_file_; }
  /// The name of the group's limit in errors.
  [[nodiscard]] std::string limit() const { return "memory cgroup " + path_ + ", " + limit_file_; }
  /// Runs a part of a test in a child inside the group. It is a failure if the child is killed.
  void in_group(const std::function<void()>& work) const {
    in_child([&] {
      ASSERT_TRUE(enter());
      work();
    });
  }

 private:
  static bool put(const std::filesystem::path& file, const std::string& text) {
    std::ofstream out(file);
    out << text << std::flush;
    return out.good();
  }

  // The line is "4:memory:/a/b" or "0::/a/b".
  void try_line(const std::string& line, std::size_t limit) {
    const std::size_t second = line.find(':', line.find(':') + 1);
    if (second == std::string::npos) return;
    const std::string path = line.substr(second + 1) == "/" ? "" : line.substr(second + 1);
    if (line.find(":memory:") != std::string::npos) {
      make("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", limit);
    } else if (line.starts_with("0::")) {
      make("/sys/fs/cgroup", path, "memory.max", limit);
      make("/sys/fs/cgroup/unified", path, "memory.max", limit);
    }
  }

  void make(const std::string& root, const std::string& own, const std::string& limit_file,
            std::size_t limit) {
    if (ready()) return;
    const std::string path = own + "/tapedeck-test-" + std::to_string(::getpid());
    const std::filesystem::path folder = root + path;
    std::error_code error;
    if (!std::filesystem::create_directory(folder, error)) return;
    if (std::filesystem::exists(folder / limit_file) &&
        put(folder / limit_file, std::to_string(limit)) &&
        number_of(folder / limit_file, "") == limit) {
      folder_ = folder;
      path_ = path;
      limit_file_ = limit_file;
      return;
    }
    std::filesystem::remove(folder, error);
  }

  std::filesystem::path folder_;
  std::string path_;
  std::string limit_file_;
};

}  // namespace tapedeck::tests
