// SPDX-License-Identifier: Apache-2.0
/// @file
/// `StatReader`: reads the state of a layout that another process publishes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A layout that is or was published. Thread-safety: a value.
struct PublishedLayout {
  std::filesystem::path path{};
  std::int32_t process = 0;  ///< The publisher's process id, in the publisher's PID namespace.
  std::string name{};        ///< The layout's name.
};

/// Lists the published layouts of a folder, sorted by name and process. Only opening one shows its
/// owner, and whether its publisher runs.
/// @throws SystemError if the folder cannot be read.
[[nodiscard]] std::vector<PublishedLayout> published_layouts(
    const std::filesystem::path& folder = kPublishFolder);

/// What became of the publisher.
enum class PublisherState : std::uint8_t {
  running,  ///< Its process, or a child that this process has forked, has the file locked.
  ended,    ///< It was destroyed normally.
  dead,     ///< Its process is gone; a read returns what it published last.
  unknown,  ///< The file system does not support locks.
};

[[nodiscard]] const char* to_string(PublisherState state) noexcept;

/// The state that was published last.
struct PublishedStat {
  Stat stat{};
  std::uint64_t publishes = 0;  ///< Number of publishes so far.
  std::uint64_t age = 0;        ///< Nanoseconds since the last publish, to some milliseconds.
};

/// Reads what a `StatPublisher` publishes. It does not map the file, so nothing that happens to it
/// can kill the reader, and it trusts none of the content.
///
/// Thread-safety: any thread.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// const StatPublisher publisher(layout, "example");
/// for (const PublishedLayout& published : published_layouts()) {
///   if (published.name != "example") continue;
///   const StatReader reader(published.path);
///   if (const auto now = reader.read()) std::cout << now->stat << '\n';
/// }
/// @endcode
class StatReader {
 public:
  /// Opens a published layout. Nothing that belongs to another user is opened.
  /// @throws SystemError if the file does not exist (ENOENT), is a symbolic link (ELOOP), belongs
  /// to another user, or is a published layout that other users can access (EACCES), or if it
  /// cannot be opened (EMFILE, EWOULDBLOCK for a file with a lease); FormatError if it is anything
  /// else, or if this version did not publish it.
  explicit StatReader(const std::filesystem::path& path);
  ~StatReader();
  StatReader(StatReader&& other) noexcept;
  StatReader& operator=(StatReader&& other) noexcept;

  /// The layout, with the process and the name that the file contains.
  [[nodiscard]] const PublishedLayout& published() const noexcept;

  /// Reads the last state, with a few system calls that do not affect the publisher.
  /// @returns nothing if no consistent record could be read in 1000 attempts, for example because
  /// the publisher was killed while writing.
  /// @throws FormatError for content that no publisher writes; SystemError.
  [[nodiscard]] std::optional<PublishedStat> read() const;

  /// @throws FormatError if the file was truncated; SystemError.
  [[nodiscard]] PublisherState state() const;

  /// Whether /proc shows the publisher's process as `published().process`. Not if the process is in
  /// another container, is hidden (hidepid), or has ended.
  [[nodiscard]] bool process_visible() const;

 private:
  struct Opened;
  std::unique_ptr<Opened> opened_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
