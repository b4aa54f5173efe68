// SPDX-License-Identifier: Apache-2.0
/// @file
/// Layouts to publish, a folder to publish them in, and a process that publishes.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "os/child.hpp"
#include "os/shared_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"
#include "tapedeck/telemetry/live/stat_reader.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

struct SmallLayout : Layout {
  SmallLayout() : Layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB}, {.talks = 2}) {}
};

/// A process that publishes a layout and then does nothing until it is killed.
class OtherPublisher {
 public:
  OtherPublisher(const std::filesystem::path& folder, const std::string& name)
      : there_before_(published_layouts(folder)), child_([folder, name] {
          ::alarm(600);  // a test may wait several times
          SmallLayout layout;
          (void)layout.weights().take(3_MiB);
          layout.clear_pass();
          StatPublisher publisher(layout, name, folder);
          publisher.publish();
          while (true) ::pause();
        }) {
    EXPECT_TRUE(comes_true([&] {
      for (const PublishedLayout& one : published_layouts(folder)) {
        const bool old =
            std::any_of(there_before_.begin(), there_before_.end(),
                        [&](const PublishedLayout& before) { return before.path == one.path; });
        if (!old) path_ = one.path;
      }
      return !path_.empty();
    }));
  }
  ~OtherPublisher() { kill(); }
  OtherPublisher(const OtherPublisher&) = delete;
  OtherPublisher& operator=(const OtherPublisher&) = delete;

  void kill() {
    if (!killed_) {
      child_.kill(SIGKILL);
      EXPECT_EQ(child_.wait().signal, SIGKILL);
    }
    killed_ = true;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::vector<PublishedLayout> there_before_;
  Child child_;
  bool killed_ = false;
  std::filesystem::path path_;
};

inline std::uint64_t word_of(const std::string& bytes, std::size_t at) {
  std::uint64_t word = 0;
  bytes.copy(reinterpret_cast<char*>(&word), sizeof word, at * sizeof word);
  return word;
}

inline void set_word(std::string& bytes, std::size_t at, std::uint64_t word) {
  bytes.replace(at * sizeof word, sizeof word,
                std::string_view(reinterpret_cast<const char*>(&word), sizeof word));
}

/// Replaces a file by one with these bytes, which only its owner may access.
inline void overwrite(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  std::filesystem::permissions(path, std::filesystem::perms(0600));
}

}  // namespace tapedeck::tests
