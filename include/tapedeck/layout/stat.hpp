// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Stat`: the metrics of a layout at one moment.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The capacity of a talk that the plan does not limit.
inline constexpr std::uint64_t kUnlimitedTokens = ~std::uint64_t{0};

/// The metrics of one talk. Thread-safety: a value.
struct TalkStat {
  std::uint64_t tokens = 0;
  std::uint64_t room = 0;  ///< Tokens that `advance` can add without another `prepare`.
  /// Tokens that the plan has room for, or `kUnlimitedTokens`. 0 in a layout made from sizes, whose
  /// talks do not count tokens: `tokens` and `room` are then unknown.
  std::uint64_t capacity = 0;
  bool open = false;
  /// In a planned history, `used` and `peak` are the bytes that tokens fill plus the bytes taken
  /// above the plan. `planned` is everything that tokens can fill, including padding.
  TapeStat history{};
};

/// The metrics of a layout's part on one device. Members without a description are as in `Stat`,
/// but for this device. Thread-safety: a value.
struct DeviceStat {
  TapeStat weights{};
  TapeStat scratch{};  ///< The sum of all frames, formed like `Stat::history`.
  TapeStat history{};  ///< The sum of all talks; see `Stat::history`.
  std::uint64_t tokens = 0;
  std::uint64_t room = 0;
  std::uint64_t capacity = 0;
  std::uint64_t longest_talk = 0;
  std::uint64_t largest_talk = 0;
  std::uint64_t conversations = 0;  ///< Talks on this device that ended with tokens.
  std::uint64_t cleared_tokens = 0;
  std::uint64_t history_budget = 0;
  std::uint64_t budget_refusals = 0;
  std::uint64_t pool_held = 0;  ///< Bytes of the pool's pages, which back growing or aligned tapes.
  std::uint64_t pool_free = 0;  ///< Bytes of the pool's pages that are not in use.

  /// Returns the device's tapes in the format of `Stat::line`.
  [[nodiscard]] std::string line() const;
};

/// The most devices that a layout can have.
inline constexpr std::size_t kMostGpus = 8;

/// The metrics of a layout at one moment. A plain struct, filled without a system call or a lock.
/// The metrics of one tape are consistent with each other only if its writer was idle meanwhile.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// (void)layout.weights().take(3_MiB);
/// assert(layout.stat().line() == "weights: 3/4 MB | scratch: 0/1 MB | history: 0/2 MB");
/// std::puts(layout.stat().text().c_str());
/// @endcode
struct Stat {
  /// The first member, so that a reader built with another version can detect the mismatch.
  std::uint32_t size = sizeof(Stat);
  std::uint32_t version = 6;
  TapeStat weights{};
  TapeStat scratch{};
  /// The sum of `TalkStat::history` over all talks. `peak` and `spilled_peak` are therefore upper
  /// bounds. `page_size` is the smallest of any talk, and `unmet` has the first refusal. `refused`
  /// also counts every `prepare` and `advance` that was refused.
  TapeStat history{};
  std::uint64_t talks = 0;
  /// Tokens in all talks. In a layout made from sizes, tokens are not counted: this is 0, and so
  /// are `room`, `capacity`, `longest_talk` and `cleared_tokens`. Exported formats show them as
  /// unknown.
  std::uint64_t tokens = 0;
  std::uint64_t room = 0;  ///< Tokens prepared but not yet used, in talks that the plan limits.
  /// Tokens that all talks can hold together; 0 if the plan does not limit them.
  std::uint64_t capacity = 0;
  std::uint64_t longest_talk = 0;  ///< The most tokens that one talk has ever held.
  std::uint64_t largest_talk = 0;  ///< The most bytes that one talk's history has ever used.
  std::uint64_t passes = 0;        ///< Calls of `clear_pass`.
  /// Conversations that have ended: each talk that held tokens when `clear_talk`, `Talk::clear` or
  /// `Talk::close` ended it. In a layout made from sizes, calls of `clear_talk`.
  std::uint64_t conversations = 0;
  /// Tokens that talks held when they were cleared.
  std::uint64_t cleared_tokens = 0;
  std::uint64_t history_budget = 0;   ///< Bytes, as in `LayoutOptions`; 0 if there is no limit.
  std::uint64_t budget_refusals = 0;  ///< Calls of `prepare` that `history_budget` refused.
  std::uint64_t gpus = 0;
  std::array<DeviceStat, kMostGpus> gpu{};  ///< Only the first `gpus` elements are used.

  /// Returns used and reserved bytes of each tape, for example
  /// `weights: 12/4096 MB | scratch: 26.5/64 KiB | history: 3/512 MB`. This is the format of a
  /// reporter that engines know: whole MiB, called "MB". A tape with a size that would round to 0
  /// has IEC units instead, as in `text`.
  [[nodiscard]] std::string line() const;

  /// Returns all metrics that are known (see stat_fields.hpp) in several lines, with IEC units.
  /// Omits host tapes that reserved nothing, had no refused takes and no spills, and got all
  /// options requested.
  [[nodiscard]] std::string text() const;
};

/// Prints `stat.line()`.
std::ostream& operator<<(std::ostream& out, const Stat& stat);
/// Prints `stat.line()`.
std::ostream& operator<<(std::ostream& out, const DeviceStat& stat);

}  // namespace tapedeck::inline TAPEDECK_ABI
