// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Recording`: the memory of a layout over time, as it was recorded or read from a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/tape_kind.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/telemetry/recording/peak_watch.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Version of the format. It is raised when a part changes its meaning or is removed, not when a
/// field is added. Version 2 has all values of a sample in one list.
inline constexpr unsigned kRecordingVersion = 2;
inline constexpr const char* kRecordingSchema = "tapedeck.recording";

/// Maximum length of a phase's name in bytes; longer names are truncated.
inline constexpr std::size_t kPhaseNameBytes = 31;

/// Maximum length in bytes of each text of a `RecordedRun`; a `Recorder` truncates longer ones.
inline constexpr std::size_t kRunTextBytes = 4096;
/// The latest `RecordedRun::began`: the end of the year 9999.
inline constexpr std::uint64_t kLatestBeginning = 253'402'300'799;

/// The run that was recorded, noted when the recording began. What is unknown is empty. Texts that
/// were read from a file may contain anything and have any length: escape them before showing them.
struct RecordedRun {
  /// Seconds since 1970-01-01 00:00 UTC by the host's clock; at most `kLatestBeginning`.
  std::optional<std::uint64_t> began{};
  std::string host{};     ///< The host's name.
  std::string model{};    ///< The engine's name for it, often a file.
  std::string command{};  ///< The command line.
};

/// The state of a layout at one moment. Thread-safety: a value, like every type in this header.
struct RecordedSample {
  std::uint64_t at = 0;  ///< Microseconds since the recording began.
  Stat stat{};           ///< Without `TapeStat::unmet`, which is not recorded.
  LayoutPeaks peaks{};   ///< The most in use since the previous sample.
};

/// A region of the layout's plan.
struct RecordedRegion {
  Place place{};
  TapeKind tape = TapeKind::weights;
  std::string name{};
  std::uint64_t offset = 0;           ///< Bytes, from the start of the tape.
  std::uint64_t bytes = 0;            ///< In a history, for one talk.
  std::uint64_t bytes_per_token = 0;  ///< 0 if the region does not grow.

  /// Bytes that a talk of `tokens` has filled; all of them if the region does not grow.
  [[nodiscard]] std::uint64_t filled(std::uint64_t tokens) const noexcept;
};

/// The beginning of a phase, or the end of the innermost one.
struct RecordedMark {
  std::uint64_t at = 0;                  ///< Microseconds since the recording began.
  std::optional<std::string> entered{};  ///< The phase that was entered; empty if one was left.
};

/// A phase from its beginning to its end.
struct RecordedPhase {
  std::string name;
  std::uint64_t begin = 0;  ///< Microseconds since the recording began.
  std::uint64_t end = 0;    ///< Microseconds; the recording's end if the phase was not left.
  std::size_t depth = 0;    ///< Number of phases around it.
};

/// What a `Recorder` has kept, or `read_recording` has read.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// Recorder recorder(layout);
/// (void)layout.scratch().take(100_KiB);
/// layout.clear_pass();
/// recorder.pass();
/// const Recording recording = recorder.recording();
/// const RecordedSample last = recording.sample(recording.samples() - 1);
/// assert(last.stat.scratch.used == 0 && last.peaks.scratch == 100_KiB);
/// @endcode
struct Recording {
  std::string layout{};     ///< The layout's name, for people.
  RecordedRun run{};        ///< Clear here what must not be written, such as the host's name.
  std::size_t gpus = 0;     ///< Devices of the layout, at most `kMostGpus`.
  std::uint64_t taken = 0;  ///< Samples ever taken, including those that were overwritten.
  /// Samples and marks that the file announces and lacks, because it is cut off: the process that
  /// wrote it was killed, or the disk was full. All that it has is older than these.
  std::uint64_t missing_lines = 0;
  std::vector<RecordedRegion> regions{};
  std::vector<RecordedMark> marks{};   ///< In the order of their times.
  std::vector<std::uint64_t> words{};  ///< All samples, packed; `sample` unpacks one.

  [[nodiscard]] std::size_t samples() const noexcept;
  /// @pre i < samples()
  [[nodiscard]] RecordedSample sample(std::size_t i) const noexcept;
  /// The time of the newest sample or mark, in microseconds; 0 if there is neither.
  [[nodiscard]] std::uint64_t end() const noexcept;

  /// The phases in the order in which they began. A phase that began before the oldest mark is
  /// unknown and left out.
  [[nodiscard]] std::vector<RecordedPhase> phases() const;

  /// Writes the recording as JSON lines. Values are integers in the units of their fields
  /// (stat_fields.hpp). The lines are, in this order:
  ///
  /// | line    | members                                                                       |
  /// |---------|-------------------------------------------------------------------------------|
  /// | first   | `schema`: "tapedeck.recording"; `version`; `layout`: its name; `run`: `began`,|
  /// |         | `host`, `model` and `command` of `RecordedRun`, as far as known; `gpus`;      |
  /// |         | `figures`: field names, "layout.passes", "host.scratch.used", "gpu0.tokens",  |
  /// |         | and "host.scratch.most_in_use", the most since the previous sample; `regions` |
  /// |         | of the plan: `place`, `tape`, `name`, `offset`, `bytes`, `bytes_per_token`;   |
  /// |         | `lines`: how many follow; `taken`: samples, including the overwritten ones    |
  /// | samples | `t`: microseconds; `figures`: a value for each name                           |
  /// | marks   | among the samples, by time: `t`, and `enter`: the phase, or `leave`: null     |
  ///
  /// Invalid UTF-8 in a name is replaced. @throws what the stream throws.
  void write(std::ostream& out) const;
};

/// Reads what `Recording::write` wrote in this version of the format. Fields that the file lacks
/// are 0, and unknown ones are ignored. The memory needed depends on what the file contains, not on
/// what it claims. A file that is cut off is read up to its last whole line, and
/// `Recording::missing_lines` is what it lacks.
/// @throws SystemError if the file cannot be read; FormatError, with the byte, if it is not a
/// recording, has another version, is damaged, or is cut off inside its first line.
[[nodiscard]] Recording read_recording(const std::filesystem::path& path);

}  // namespace tapedeck::inline TAPEDECK_ABI
