/// @file
/// `Stat`: where the memory of a layout stands.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/tape_stat.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The capacity of a talk that nothing ends.
inline constexpr std::uint64_t kUnlimitedTokens = ~std::uint64_t{0};

/// The figures of one talk. Thread-safety: a value.
struct TalkStat {
  std::uint64_t tokens = 0;
  std::uint64_t room = 0;      ///< Tokens that it can hold besides these without another `prepare`.
  std::uint64_t capacity = 0;  ///< Tokens that the plan has room for; perhaps `kUnlimitedTokens`.
  bool open = false;
  /// Of a planned history, `used` and `peak` are what tokens fill, and what is taken above the
  /// plan; `planned` is all that they can fill, with padding.
  TapeStat history{};
};

/// The figures of a layout's part on one device. Thread-safety: a value.
struct DeviceStat {
  TapeStat weights{};
  TapeStat scratch{};  ///< Summed over its frames, as over talks.
  TapeStat history{};  ///< Summed over all talks.
  std::uint64_t tokens = 0;
  std::uint64_t room = 0;
  std::uint64_t capacity = 0;
  std::uint64_t longest_talk = 0;  ///< As those of `Stat`.
  std::uint64_t largest_talk = 0;
  std::uint64_t cleared_tokens = 0;
  std::uint64_t pool_held = 0;  ///< Bytes of physical pages below growing or aligned tapes,
  std::uint64_t pool_free = 0;  ///< and of these, in use by nobody.

  /// As `Stat::line`, of the device.
  [[nodiscard]] std::string line() const;
};

/// Devices a layout may have.
inline constexpr std::size_t kMostGpus = 8;

/// The figures of a layout at one moment: a plain struct, made without a system call or a lock.
/// Figures of one tape agree with each other as far as its writer was quiet.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// (void)layout.weights().take(3_MiB);
/// assert(layout.stat().line() == "weights: 3/4 MB | scratch: 0/1 MB | history: 0/2 MB");
/// std::puts(layout.stat().text().c_str());
/// @endcode
struct Stat {
  std::uint32_t size = sizeof(Stat);  ///< First, so that a reader of another version can tell.
  std::uint32_t version = 5;
  TapeStat weights{};
  TapeStat scratch{};
  /// Summed over all talks, as `TalkStat::history`; `peak` and `spilled_peak` are then upper
  /// bounds. `page_size` is the smallest, `unmet` the first refusal. `refused` counts each
  /// `prepare` and `advance` that was refused, too.
  TapeStat history{};
  std::uint64_t talks = 0;
  std::uint64_t tokens = 0;         ///< In all talks; 0 in a layout without a plan.
  std::uint64_t room = 0;           ///< Tokens prepared beyond those, where the plan ends a talk.
  std::uint64_t capacity = 0;       ///< Tokens that all talks can hold, where the plan ends them.
  std::uint64_t longest_talk = 0;   ///< The most tokens that one talk has ever had at a time.
  std::uint64_t largest_talk = 0;   ///< The most bytes that one talk's history has ever used.
  std::uint64_t passes = 0;         ///< Calls of `clear_pass`.
  std::uint64_t conversations = 0;  ///< Calls of `clear_talk`.
  /// Tokens that talks held when they were cleared.
  std::uint64_t cleared_tokens = 0;
  std::uint64_t gpus = 0;
  std::array<DeviceStat, kMostGpus> gpu{};  ///< The first `gpus` of them.

  /// `weights: 12/4096 MB | scratch: 26.5/64 KiB | history: 3/512 MB`: used and reserved bytes of
  /// each tape. This is the form of the upstream reporter that engines know: whole MiB, called
  /// "MB". A tape of which a size would round to 0 has IEC units instead, as `text` has.
  [[nodiscard]] std::string line() const;

  /// All figures of the list (stat_fields.hpp), several lines, in IEC units. Tapes of the host that
  /// hold nothing, were asked for nothing and lack nothing are left out.
  [[nodiscard]] std::string text() const;
};

/// Prints `stat.line()`.
std::ostream& operator<<(std::ostream& out, const Stat& stat);
/// Prints `stat.line()`.
std::ostream& operator<<(std::ostream& out, const DeviceStat& stat);

}  // namespace tapedeck::inline TAPEDECK_ABI
