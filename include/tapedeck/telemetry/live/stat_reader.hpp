/// @file
/// `StatReader`: where the layout of another process stands.
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

/// A layout that is or was published, as its file is called. Thread-safety: a value.
struct PublishedLayout {
  std::filesystem::path path{};
  std::int32_t process = 0;  ///< Its number.
  std::string name{};        ///< The layout's.
};

/// What there is in a folder, by name and process; whose they are, and whether those live, is known
/// once they are opened.
/// @throws SystemError where the folder cannot be read.
[[nodiscard]] std::vector<PublishedLayout> published_layouts(
    const std::filesystem::path& folder = kPublishFolder);

/// What became of the publisher.
enum class PublisherState : std::uint8_t {
  running,
  ended,    ///< It took its layout back.
  dead,     ///< Its process is gone; what is read is what it published last.
  unknown,  ///< Its process is one of another container, or the kernel does not tell.
};

[[nodiscard]] const char* to_string(PublisherState state) noexcept;

/// What was published last.
struct PublishedStat {
  Stat stat{};
  std::uint64_t publishes = 0;  ///< How often, so far.
  std::uint64_t age = 0;        ///< Nanoseconds since then, exact to some milliseconds.
};

/// Reads what a `StatPublisher` publishes. The file is read, and not mapped, so that nothing that
/// is done to it can end the reader; no content of it is trusted.
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
  /// @throws SystemError where there is no such file (ENOENT), where it is a symbolic link (ELOOP)
  /// or another user's (EACCES); FormatError for what was not published by this version.
  explicit StatReader(const std::filesystem::path& path);
  ~StatReader();
  StatReader(StatReader&& other) noexcept;
  StatReader& operator=(StatReader&& other) noexcept;

  [[nodiscard]] const PublishedLayout& published() const noexcept;

  /// A few system calls, of this process alone.
  /// @returns nothing if no consistent record was read in 1000 attempts, as where the publisher was
  /// killed while it wrote one.
  /// @throws FormatError for what no publisher writes; SystemError.
  [[nodiscard]] std::optional<PublishedStat> read() const;

  [[nodiscard]] PublisherState state() const;

 private:
  struct Opened;
  std::unique_ptr<Opened> opened_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
