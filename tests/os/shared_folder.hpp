// SPDX-License-Identifier: Apache-2.0
/// @file
/// A folder in the host's shared memory.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace tapedeck::tests {

/// A folder in shared memory for a test, removed by the destructor. Its path is empty if it cannot
/// be created: see `no_shared_memory`.
class SharedFolder {
 public:
  SharedFolder() {
    std::string name = "/dev/shm/tapedeck-test-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~SharedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

 private:
  std::filesystem::path path_;
};

/// Returns why a test cannot have such a folder, or `nullopt` if it can.
[[nodiscard]] inline std::optional<std::string> no_shared_memory() {
  const SharedFolder folder;
  if (!folder.path().empty()) return std::nullopt;
  return std::string("no folder can be made in /dev/shm: ") + std::strerror(errno);
}

/// The base of tests that need such a folder.
class InSharedMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = no_shared_memory()) GTEST_SKIP() << *why;
  }

  SharedFolder folder_;
};

}  // namespace tapedeck::tests
