/// @file
/// `StatPublisher`: where a layout stands, for other processes to see.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/layout.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Where layouts are published: the host's shared memory, which every Linux has and which is empty
/// after a reboot. $XDG_RUNTIME_DIR is there for logged-in users alone, and a service or a
/// container is none.
inline constexpr const char* kPublishFolder = "/dev/shm";

/// Publishes `Layout::stat()` in a small file of shared memory, which `StatReader` and
/// `tapedeck top` read. The file is for the user of this process alone and is called by the process
/// and the layout; it goes with the publisher. One that a killed process left behind is removed by
/// the next publisher of that name.
///
/// Readers take no lock and send no signal: however many they are, and whatever they do, `publish`
/// does not wait for them. Not supported: to publish from a forked child, which shares the file
/// with its parent; to make the file shorter, which ends this process at the next `publish`.
///
/// Thread-safety: one `publish` at a time, from any thread, while the layout's writers work; it
/// must go before the layout does.
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
  /// Publishes for the first time.
  /// @param name  1 to 63 letters, digits, '.', '_' and '-'.
  /// @param folder  where readers look for it; of a file system in memory.
  /// @throws InvalidArgument for another name, or where this process publishes one of that name
  /// already; SystemError: ENOSPC where the folder is full.
  explicit StatPublisher(const Layout& layout, const std::string& name = "layout",
                         const std::filesystem::path& folder = kPublishFolder);
  ~StatPublisher();
  StatPublisher(const StatPublisher&) = delete;
  StatPublisher& operator=(const StatPublisher&) = delete;

  /// Publishes where the layout stands now: after each `clear_pass`, and after `clear_talk`. Some
  /// sixty plain stores, and as many for each device: no system call, no allocation, no lock.
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
  std::uint64_t sequence_ = 0;
  Stat stat_{};
  Word* words_ = nullptr;
  Word* record_ = nullptr;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
