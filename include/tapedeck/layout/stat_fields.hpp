/// @file
/// The list of all figures: what each is called, counts and means. Text, JSON, Prometheus,
/// published files and recordings are made from it, so a figure that gets a row here is everywhere.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What a figure counts.
enum class StatUnit : std::uint8_t {
  bytes,
  tokens,
  count,         ///< Of things or of events, as `StatField::help` says.
  microseconds,  ///< Time.
  basis_points,  ///< Ten-thousandths of a whole: 1234 are 12.34 %.
};

/// A gauge goes up and down; a counter only up, from 0 when what it is of began.
enum class StatKind : std::uint8_t { gauge, counter };

/// A row of the list: one figure of a struct of them. `Value` is an optional number where a figure
/// may be unknown.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// const TapeStat weights = layout.stat().weights;
/// for (const StatField<TapeStat>& field : tape_fields()) {
///   std::cout << field.name << ": " << field.of(weights) << '\n';
/// }
/// @endcode
template <class Figures, class Value = std::uint64_t>
struct StatField {
  const char* name;  ///< The member's, or a name of its own where it is computed: "headroom".
  StatUnit unit;
  StatKind kind;
  const char* help;                  ///< One sentence.
  Value Figures::*member = nullptr;  ///< Where the figure is stored; null where it is computed,
  Value (*computed)(const Figures& figures) noexcept = nullptr;  ///< by this function.

  [[nodiscard]] constexpr Value of(const Figures& figures) const noexcept {
    return member != nullptr ? figures.*member : computed(figures);
  }
};

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

// Clamped, since a reader may see an older reserve than use of a sum over talks.
constexpr std::uint64_t headroom(const TapeStat& tape) noexcept {
  return tape.reserved - std::min(tape.reserved, tape.used);
}

constexpr std::uint64_t unmet_wishes(const TapeStat& tape) noexcept {
  return kWishes - static_cast<std::uint64_t>(std::count(tape.unmet.begin(), tape.unmet.end(), 0));
}

constexpr std::uint64_t committed(const DeviceStat& device) noexcept {
  return device.weights.committed + device.scratch.committed + device.history.committed;
}

inline constexpr auto kTapeFields = std::to_array<StatField<TapeStat>>({
    {"used", StatUnit::bytes, StatKind::gauge, "Taken from the tape.", &TapeStat::used},
    {"reserved", StatUnit::bytes, StatKind::gauge, "Addresses held.", &TapeStat::reserved},
    {"headroom", StatUnit::bytes, StatKind::gauge, "Reserved and not used.", nullptr, headroom},
    {"peak", StatUnit::bytes, StatKind::gauge, "The most that was ever used.", &TapeStat::peak},
    {"committed", StatUnit::bytes, StatKind::gauge, "Usable without another system call.",
     &TapeStat::committed},
    {"planned", StatUnit::bytes, StatKind::gauge, "Below the floor: stays through every clear.",
     &TapeStat::planned},
    {"spilled", StatUnit::bytes, StatKind::gauge, "In blocks outside the tape, now.",
     &TapeStat::spilled},
    {"spilled_peak", StatUnit::bytes, StatKind::gauge, "The most that was ever spilled at a time.",
     &TapeStat::spilled_peak},
    {"spills", StatUnit::count, StatKind::counter, "Takes that were spilled.", &TapeStat::spills},
    {"refused", StatUnit::count, StatKind::counter, "Takes that found no room.",
     &TapeStat::refused},
    {"grows", StatUnit::count, StatKind::counter,
     "Commit steps made by a take, by `prepare`, or for a talk.", &TapeStat::grows},
    {"clears", StatUnit::count, StatKind::counter, "Clears.", &TapeStat::clears},
    {"page_size", StatUnit::bytes, StatKind::gauge, "Of the pages obtained.", &TapeStat::page_size},
    {"unmet_wishes", StatUnit::count, StatKind::gauge,
     "Options asked for that the host did not have.", nullptr, unmet_wishes},
});

inline constexpr auto kLayoutFields = std::to_array<StatField<Stat>>({
    {"talks", StatUnit::count, StatKind::gauge, "Conversations that there is room for.",
     &Stat::talks},
    {"tokens", StatUnit::tokens, StatKind::gauge, "In all talks.", &Stat::tokens},
    {"room", StatUnit::tokens, StatKind::gauge, "Prepared beyond those that talks hold.",
     &Stat::room},
    {"capacity", StatUnit::tokens, StatKind::gauge, "That the plan has room for in all talks.",
     &Stat::capacity},
    {"longest_talk", StatUnit::tokens, StatKind::gauge,
     "The most that one talk has ever had at a time.", &Stat::longest_talk},
    {"largest_talk", StatUnit::bytes, StatKind::gauge,
     "The most that one talk's history has ever used.", &Stat::largest_talk},
    {"cleared_tokens", StatUnit::tokens, StatKind::counter,
     "Tokens that talks held when they were cleared.", &Stat::cleared_tokens},
    {"passes", StatUnit::count, StatKind::counter, "Forward passes that ended.", &Stat::passes},
    {"conversations", StatUnit::count, StatKind::counter, "Conversations that ended.",
     &Stat::conversations},
    {"gpus", StatUnit::count, StatKind::gauge, "Devices.", &Stat::gpus},
});

inline constexpr auto kDeviceFields = std::to_array<StatField<DeviceStat>>({
    {"tokens", StatUnit::tokens, StatKind::gauge, "In all talks, on this device.",
     &DeviceStat::tokens},
    {"room", StatUnit::tokens, StatKind::gauge,
     "Prepared beyond those that talks hold, on this device.", &DeviceStat::room},
    {"capacity", StatUnit::tokens, StatKind::gauge,
     "That the plan has room for in all talks, on this device.", &DeviceStat::capacity},
    {"longest_talk", StatUnit::tokens, StatKind::gauge,
     "The most that one talk has ever had at a time, on this device.", &DeviceStat::longest_talk},
    {"largest_talk", StatUnit::bytes, StatKind::gauge,
     "The most that one talk's history has ever used, on this device.", &DeviceStat::largest_talk},
    {"cleared_tokens", StatUnit::tokens, StatKind::counter,
     "Tokens that talks held on this device when they were cleared.", &DeviceStat::cleared_tokens},
    {"pool_held", StatUnit::bytes, StatKind::gauge,
     "Physical pages below growing or aligned tapes.", &DeviceStat::pool_held},
    {"pool_free", StatUnit::bytes, StatKind::gauge, "Of the pool's pages, in use by nobody.",
     &DeviceStat::pool_free},
    {"committed", StatUnit::bytes, StatKind::gauge, "Committed by this layout's tapes.", nullptr,
     committed},
});

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// Of one tape, on the host or on a device. These lists hold as long as the program; from any
/// thread.
[[nodiscard]] constexpr std::span<const StatField<TapeStat>> tape_fields() noexcept {
  return internal::kTapeFields;
}

/// Of a whole layout, without its tapes and devices.
[[nodiscard]] constexpr std::span<const StatField<Stat>> layout_fields() noexcept {
  return internal::kLayoutFields;
}

/// Of a layout's part on one device, without its tapes.
[[nodiscard]] constexpr std::span<const StatField<DeviceStat>> device_fields() noexcept {
  return internal::kDeviceFields;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
