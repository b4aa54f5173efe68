// SPDX-License-Identifier: Apache-2.0
/// @file
/// The list of all metrics, with the name, unit and meaning of each. Text, JSON, Prometheus,
/// published files and recordings are generated from it, so a metric added here appears in all.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

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
  /// Whether the metric has a value, if it is stored as 0 where it has none; null if it always has.
  bool (*has_value)(const Figures& figures) noexcept = nullptr;

  [[nodiscard]] constexpr Value of(const Figures& figures) const noexcept {
    return member != nullptr ? figures.*member : computed(figures);
  }
  /// Returns the metric, or nothing if it is unknown or does not apply, such as the capacity of
  /// talks that no plan limits.
  [[nodiscard]] constexpr std::optional<std::uint64_t> known(
      const Figures& figures) const noexcept {
    if (has_value != nullptr && !has_value(figures)) return std::nullopt;
    return of(figures);
  }
  /// Whether `known` may return nothing.
  [[nodiscard]] constexpr bool may_be_unknown() const noexcept {
    return has_value != nullptr || !std::is_same_v<Value, std::uint64_t>;
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

// Tapes whose planned regions are committed elsewhere do not know the pages of these regions.
constexpr bool has_page_size(const TapeStat& tape) noexcept { return tape.page_size != 0; }

/// Whether the talks of a place count tokens, as far as can be seen: those of a plan do.
template <class Side>
constexpr bool tokens_known(const Side& side) noexcept {
  return side.capacity != 0 || side.longest_talk != 0 || side.history.planned != 0;
}
template <class Side>
constexpr bool has_capacity(const Side& side) noexcept {
  return side.capacity != 0;
}
template <class Side>
constexpr bool has_budget(const Side& side) noexcept {
  return side.history_budget != 0;
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
    {"page_size", StatUnit::bytes, StatKind::gauge, "Size of the pages obtained, if known.",
     &TapeStat::page_size, nullptr, has_page_size},
    {"unmet_wishes", StatUnit::count, StatKind::gauge,
     "Requested options that the host could not provide.", nullptr, unmet_wishes},
});

inline constexpr auto kLayoutFields = std::to_array<StatField<Stat>>({
    {"talks", StatUnit::count, StatKind::gauge, "Conversations that the layout can hold at once.",
     &Stat::talks},
    {"tokens", StatUnit::tokens, StatKind::gauge, "Tokens in all talks, if they are counted.",
     &Stat::tokens, nullptr, tokens_known},
    {"room", StatUnit::tokens, StatKind::gauge,
     "Tokens that memory is prepared for, beyond those held.", &Stat::room, nullptr, has_capacity},
    {"capacity", StatUnit::tokens, StatKind::gauge,
     "Tokens that the plan has room for in all talks, if it limits them.", &Stat::capacity, nullptr,
     has_capacity},
    {"longest_talk", StatUnit::tokens, StatKind::gauge,
     "The most tokens that one talk has ever held.", &Stat::longest_talk, nullptr, tokens_known},
    {"largest_talk", StatUnit::bytes, StatKind::gauge,
     "The most bytes that one talk's history has ever used.", &Stat::largest_talk},
    {"cleared_tokens", StatUnit::tokens, StatKind::counter,
     "Tokens that talks held when they were cleared.", &Stat::cleared_tokens, nullptr,
     tokens_known},
    {"passes", StatUnit::count, StatKind::counter, "Forward passes that have ended.",
     &Stat::passes},
    {"conversations", StatUnit::count, StatKind::counter,
     "Talks that ended with tokens; in a layout made from sizes, calls of `clear_talk`.",
     &Stat::conversations},
    {"history_budget", StatUnit::bytes, StatKind::gauge,
     "The most bytes that the talks may have committed for their planned regions, if limited.",
     &Stat::history_budget, nullptr, has_budget},
    {"budget_refusals", StatUnit::count, StatKind::counter,
     "Calls of `prepare` that the history budget refused.", &Stat::budget_refusals},
    {"gpus", StatUnit::count, StatKind::gauge, "Devices of the layout.", &Stat::gpus},
});

inline constexpr auto kDeviceFields = std::to_array<StatField<DeviceStat>>({
    {"tokens", StatUnit::tokens, StatKind::gauge,
     "Tokens in all talks on this device, if they are counted.", &DeviceStat::tokens, nullptr,
     tokens_known},
    {"room", StatUnit::tokens, StatKind::gauge,
     "Tokens that memory on this device is prepared for, beyond those held.", &DeviceStat::room,
     nullptr, has_capacity},
    {"capacity", StatUnit::tokens, StatKind::gauge,
     "Tokens that the plan has room for in all talks on this device, if it limits them.",
     &DeviceStat::capacity, nullptr, has_capacity},
    {"longest_talk", StatUnit::tokens, StatKind::gauge,
     "The most tokens that one talk has ever held on this device.", &DeviceStat::longest_talk,
     nullptr, tokens_known},
    {"largest_talk", StatUnit::bytes, StatKind::gauge,
     "The most bytes that one talk's history has ever used on this device.",
     &DeviceStat::largest_talk},
    {"conversations", StatUnit::count, StatKind::counter,
     "Talks on this device that ended with tokens.", &DeviceStat::conversations},
    {"cleared_tokens", StatUnit::tokens, StatKind::counter,
     "Tokens that talks held on this device when they were cleared.", &DeviceStat::cleared_tokens,
     nullptr, tokens_known},
    {"history_budget", StatUnit::bytes, StatKind::gauge,
     "The most bytes that the talks may have committed on this device, if limited.",
     &DeviceStat::history_budget, nullptr, has_budget},
    {"budget_refusals", StatUnit::count, StatKind::counter,
     "Calls of `prepare` that the history budget of this device refused.",
     &DeviceStat::budget_refusals},
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
