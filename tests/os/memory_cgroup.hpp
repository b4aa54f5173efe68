/// @file
/// A memory cgroup of a test's own, v1 or v2, where this process may make one.
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

/// A group with a limit, below the group this process is in. Gone with its object, by when its
/// processes must have ended.
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
  /// Moves the calling process inside.
  [[nodiscard]] bool enter() const { return put(folder_ / "cgroup.procs", "0"); }
  /// As /proc/self/cgroup names it.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& limit_file() const { return limit_file_; }
  /// As errors name its limit.
  [[nodiscard]] std::string limit() const { return "memory cgroup " + path_ + ", " + limit_file_; }
  /// Runs a piece of a test in a child inside. To be killed there is a failure.
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

  // "4:memory:/a/b" or "0::/a/b".
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
