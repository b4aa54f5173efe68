// SPDX-License-Identifier: Apache-2.0
/// @file
/// The list of all metrics, with the name, unit and meaning of each. Text, JSON, Prometheus,
/// published files and recordings are generated from it, so a metric added here appears in all.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The unit of a metric.
enum class StatUnit : std::uint8_t {
  bytes,
  tokens,
  count,         ///< A number of objects or events; see `StatField::help`.
  microseconds,  ///< A duration.
  basis_points,  ///< A fraction in units of 1/10000: 1234 means 12.34 %.
};

/// A gauge can rise and fall. A counter starts at 0 when its tape, layout or process starts, and
/// never falls.
enum class StatKind : std::uint8_t { gauge, counter };

/// A row of a list: describes one metric of the struct `Figures`. `Value` is a number, or an
/// optional number if the metric may be unknown.
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
  const char* name;  ///< The name of the member. A computed metric has its own name: "headroom".
  StatUnit unit;
  StatKind kind;
  const char* help;                  ///< A description that ends with a period.
  Value Figures::*member = nullptr;  ///< The member that stores the metric; null if it is computed.
  /// The function that computes the metric; null if it is stored.
  Value (*computed)(const Figures& figures) noexcept = nullptr;

  [[nodiscard]] constexpr Value of(const Figures& figures) const noexcept {
    return member != nullptr ? figures.*member : computed(figures);
  }
};

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

// Clamped, because a reader may see a newer `used` than `reserved` in a sum over talks.
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
    {"used", StatUnit::bytes, StatKind::gauge, "Bytes taken from the tape.", &TapeStat::used},
    {"reserved", StatUnit::bytes, StatKind::gauge, "Bytes of address space held.",
     &TapeStat::reserved},
    {"headroom", StatUnit::bytes, StatKind::gauge, "Bytes that are reserved but not used.", nullptr,
     headroom},
    {"peak", StatUnit::bytes, StatKind::gauge, "The most bytes ever used at once.",
     &TapeStat::peak},
    {"committed", StatUnit::bytes, StatKind::gauge,
     "Bytes that can be used without another system call.", &TapeStat::committed},
    {"planned", StatUnit::bytes, StatKind::gauge,
     "Bytes below the floor, which no clear gives back.", &TapeStat::planned},
    {"spilled", StatUnit::bytes, StatKind::gauge, "Bytes currently in blocks outside the tape.",
     &TapeStat::spilled},
    {"spilled_peak", StatUnit::bytes, StatKind::gauge, "The most bytes ever spilled at once.",
     &TapeStat::spilled_peak},
    {"spills", StatUnit::count, StatKind::counter, "Takes that spilled because the tape was full.",
     &TapeStat::spills},
    {"refused", StatUnit::count, StatKind::counter,
     "Calls of `take`, `prepare` or `advance` that were refused.", &TapeStat::refused},
    {"grows", StatUnit::count, StatKind::counter,
     "Commit steps made by a take, by `prepare` or for a talk.", &TapeStat::grows},
    {"clears", StatUnit::count, StatKind::counter, "Times that the tape was cleared.",
     &TapeStat::clears},
    {"page_size", StatUnit::bytes, StatKind::gauge, "Size of the pages obtained.",
     &TapeStat::page_size},
    {"unmet_wishes", StatUnit::count, StatKind::gauge,
     "Requested options that the host could not provide.", nullptr, unmet_wishes},
});

inline constexpr auto kLayoutFields = std::to_array<StatField<Stat>>({
    {"talks", StatUnit::count, StatKind::gauge, "Conversations that the layout can hold at once.",
     &Stat::talks},
    {"tokens", StatUnit::tokens, StatKind::gauge, "Tokens in all talks.", &Stat::tokens},
    {"room", StatUnit::tokens, StatKind::gauge,
     "Tokens that memory is prepared for, beyond those held.", &Stat::room},
    {"capacity", StatUnit::tokens, StatKind::gauge,
     "Tokens that the plan has room for in all talks.", &Stat::capacity},
    {"longest_talk", StatUnit::tokens, StatKind::gauge,
     "The most tokens that one talk has ever held.", &Stat::longest_talk},
    {"largest_talk", StatUnit::bytes, StatKind::gauge,
     "The most bytes that one talk's history has ever used.", &Stat::largest_talk},
    {"cleared_tokens", StatUnit::tokens, StatKind::counter,
     "Tokens that talks held when they were cleared.", &Stat::cleared_tokens},
    {"passes", StatUnit::count, StatKind::counter, "Forward passes that have ended.",
     &Stat::passes},
    {"conversations", StatUnit::count, StatKind::counter, "Conversations that have ended.",
     &Stat::conversations},
    {"gpus", StatUnit::count, StatKind::gauge, "Devices of the layout.", &Stat::gpus},
});

inline constexpr auto kDeviceFields = std::to_array<StatField<DeviceStat>>({
    {"tokens", StatUnit::tokens, StatKind::gauge, "Tokens in all talks on this device.",
     &DeviceStat::tokens},
    {"room", StatUnit::tokens, StatKind::gauge,
     "Tokens that memory on this device is prepared for, beyond those held.", &DeviceStat::room},
    {"capacity", StatUnit::tokens, StatKind::gauge,
     "Tokens that the plan has room for in all talks on this device.", &DeviceStat::capacity},
    {"longest_talk", StatUnit::tokens, StatKind::gauge,
     "The most tokens that one talk has ever held on this device.", &DeviceStat::longest_talk},
    {"largest_talk", StatUnit::bytes, StatKind::gauge,
     "The most bytes that one talk's history has ever used on this device.",
     &DeviceStat::largest_talk},
    {"cleared_tokens", StatUnit::tokens, StatKind::counter,
     "Tokens that talks held on this device when they were cleared.", &DeviceStat::cleared_tokens},
    {"pool_held", StatUnit::bytes, StatKind::gauge,
     "Physical pages of the pool, which back growing or aligned tapes.", &DeviceStat::pool_held},
    {"pool_free", StatUnit::bytes, StatKind::gauge,
     "Physical pages of the pool that are not in use.", &DeviceStat::pool_free},
    {"committed", StatUnit::bytes, StatKind::gauge,
     "Bytes committed by this layout's tapes on the device.", nullptr, committed},
});

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

/// Describes the metrics of one tape, on the host or on a device. The list is constant.
[[nodiscard]] constexpr std::span<const StatField<TapeStat>> tape_fields() noexcept {
  return internal::kTapeFields;
}

/// Describes the metrics of a whole layout, without its tapes and devices. The list is constant.
[[nodiscard]] constexpr std::span<const StatField<Stat>> layout_fields() noexcept {
  return internal::kLayoutFields;
}

/// Describes the metrics of a layout's part on one device, without its tapes. The list is constant.
[[nodiscard]] constexpr std::span<const StatField<DeviceStat>> device_fields() noexcept {
  return internal::kDeviceFields;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
