/// @file
/// `Recording`: how the memory of a layout went over time, kept or read back.
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

/// Of the format that is written. It is raised where something changes its meaning or goes; figures
/// and members may be added. Version 2 has all figures of a sample in one list.
inline constexpr unsigned kRecordingVersion = 2;
inline constexpr const char* kRecordingSchema = "tapedeck.recording";

/// The most bytes of the name of a phase: longer ones are cut.
inline constexpr std::size_t kPhaseNameBytes = 31;

/// The most bytes of each text of a `RecordedRun` that a `Recorder` keeps: longer ones are cut.
inline constexpr std::size_t kRunTextBytes = 4096;
/// The latest `RecordedRun::began`: the end of the year 9999.
inline constexpr std::uint64_t kLatestBeginning = 253'402'300'799;

/// Which run was recorded, noted while it was recorded. What is unknown is empty. Texts out of a
/// file may be anything, of any length: escape them before you show them.
struct RecordedRun {
  /// Seconds since 1970-01-01 00:00 UTC by the host's clock; `kLatestBeginning` at most.
  std::optional<std::uint64_t> began{};
  std::string host{};     ///< The host's name.
  std::string model{};    ///< As the engine calls it, often a file.
  std::string command{};  ///< The command line.
};

/// Where a layout stood at one moment. Thread-safety: a value, as all below.
struct RecordedSample {
  std::uint64_t at = 0;  ///< Microseconds since the recording began.
  Stat stat{};           ///< But for `TapeStat::unmet`, which is not recorded.
  LayoutPeaks peaks{};   ///< The most in use since the sample before.
};

/// A region of the layout's plan.
struct RecordedRegion {
  Place place{};
  TapeKind tape = TapeKind::weights;
  std::string name{};
  std::uint64_t offset = 0;           ///< Bytes, from the start of the tape.
  std::uint64_t bytes = 0;            ///< Of one talk, in a history.
  std::uint64_t bytes_per_token = 0;  ///< 0: it does not grow.

  /// Bytes of it that a talk of so many tokens has filled; all of one that does not grow.
  [[nodiscard]] std::uint64_t filled(std::uint64_t tokens) const noexcept;
};

/// The beginning of a phase, or the end of the innermost one.
struct RecordedMark {
  std::uint64_t at = 0;                  ///< Microseconds, as those of samples.
  std::optional<std::string> entered{};  ///< The phase; nothing: one was left.
};

/// A phase from its beginning to its end.
struct RecordedPhase {
  std::string name;
  std::uint64_t begin = 0;  ///< Microseconds.
  std::uint64_t end = 0;    ///< The recording's, where it was not left.
  std::size_t depth = 0;    ///< Phases around it.
};

/// What a `Recorder` kept, or `read_recording` read.
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
  std::string layout{};     ///< Its name, for people.
  RecordedRun run{};        ///< Clear here what must not be written, such as the host's name.
  std::size_t gpus = 0;     ///< Devices of the layout; `kMostGpus` at most.
  std::uint64_t taken = 0;  ///< Samples ever taken, those that were lost since, too.
  std::vector<RecordedRegion> regions{};
  std::vector<RecordedMark> marks{};   ///< In order.
  std::vector<std::uint64_t> words{};  ///< Of all samples, packed: `sample` unpacks them.

  [[nodiscard]] std::size_t samples() const noexcept;
  /// @pre i < samples()
  [[nodiscard]] RecordedSample sample(std::size_t i) const noexcept;
  /// Of the newest sample or mark, microseconds; 0 where there is none.
  [[nodiscard]] std::uint64_t end() const noexcept;

  /// Phases in the order of their beginnings. One that began before the oldest mark is not known,
  /// and left out.
  [[nodiscard]] std::vector<RecordedPhase> phases() const;

  /// Writes all as JSON lines. Figures are whole numbers in the units of their rows
  /// (stat_fields.hpp). In this order:
  ///
  /// | line    | members                                                                       |
  /// |---------|-------------------------------------------------------------------------------|
  /// | first   | `schema`: "tapedeck.recording"; `version`; `layout`: its name; `run`: what is |
  /// |         | known of `began`, `host`, `model` and `command` of `RecordedRun`; `gpus`;     |
  /// |         | `figures`: their names, "layout.passes", "host.scratch.used", "gpu0.tokens",  |
  /// |         | and "host.scratch.most_in_use", the most since the sample before; `regions`:  |
  /// |         | of the plan, `place`, `tape`, `name`, `offset`, `bytes`, `bytes_per_token`;   |
  /// |         | `lines`: how many follow; `taken`: samples, those that the ring has lost too  |
  /// | samples | `t`: microseconds; `figures`: a value for each name                           |
  /// | marks   | among them, by time: `t`, and `enter`: the phase, or `leave`: null            |
  ///
  /// What is no UTF-8 in a name is replaced. @throws what the stream throws.
  void write(std::ostream& out) const;
};

/// Reads what `Recording::write` wrote, of this version, by this library or one with some other
/// figures: those that the file lacks are 0. Takes memory for what the file has, never for what it
/// claims.
/// @throws SystemError where the file cannot be read; FormatError with the byte where it is no
/// recording, of another version, damaged, or cut off.
[[nodiscard]] Recording read_recording(const std::filesystem::path& path);

}  // namespace tapedeck::inline TAPEDECK_ABI
