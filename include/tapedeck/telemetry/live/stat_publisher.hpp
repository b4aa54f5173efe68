// SPDX-License-Identifier: Apache-2.0
/// @file
/// `StatPublisher`: publishes the state of a layout to other processes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The default folder for published layouts: the host's shared memory, which every Linux has and
/// which is empty after a reboot. $XDG_RUNTIME_DIR exists only for logged-in users, not for a
/// service or in a container.
inline constexpr const char* kPublishFolder = "/dev/shm";

/// Publishes `Layout::stat()` in a small file in shared memory, for `StatReader` and `tapedeck top`
/// to read. Only the user of this process has access to it. It is named after the process and the
/// layout. The destructor removes it; if the process is killed, the next publisher of the same name
/// does. The file stays locked while the publisher lives, which readers see even where /proc hides
/// the process; it takes one descriptor.
///
/// Readers take no lock and send no signal: however many there are, and whatever they do, `publish`
/// does not wait for them. Two things are not supported: publishing from a forked child, which
/// shares the file and its lock with its parent until it ends or executes a program, and truncating
/// the file, which kills this process at the next `publish`.
///
/// Thread-safety: one `publish` at a time, from any thread, while the layout's writers work.
/// Destroy it before the layout.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// StatPublisher publisher(layout, "chat");  // now there is something for `tapedeck top chat`
/// for (int token = 0; token < 3; ++token) {
///   (void)layout.scratch().take(1000);
///   layout.clear_pass();
///   publisher.publish();
/// }
/// @endcode
class StatPublisher {
 public:
  /// Creates the file and publishes for the first time.
  /// @param name  1 to 63 letters, digits, '.', '_' and '-'.
  /// @param folder  where readers look for the file. Use one on a file system in memory (tmpfs).
  /// One on a disk works, but the kernel then writes the file back again and again, and `publish`
  /// may wait for it.
  /// @throws InvalidArgument for any other name, or if this process already publishes a layout of
  /// this name; SystemError: ENOSPC if the folder is full.
  explicit StatPublisher(const Layout& layout, const std::string& name = "layout",
                         const std::filesystem::path& folder = kPublishFolder);
  ~StatPublisher();
  StatPublisher(const StatPublisher&) = delete;
  StatPublisher& operator=(const StatPublisher&) = delete;

  /// Publishes the current state. Call it after each `clear_pass` and `clear_talk`. It costs about
  /// sixty plain stores, and as many again for each device: no system call, no allocation, no lock.
  void publish() noexcept;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  using Word = std::atomic<std::uint64_t>;
  static_assert(Word::is_always_lock_free, "it is shared between processes");

  void write_header(const std::string& name) noexcept;

  const Layout& layout_;
  std::filesystem::path path_;
  std::int32_t process_;
  std::uint64_t start_;
  int locked_ = -1;  // the file's descriptor, whose lock shows readers that this process lives
  std::uint64_t sequence_ = 0;
  Stat stat_{};
  Word* words_ = nullptr;
  Word* record_ = nullptr;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
