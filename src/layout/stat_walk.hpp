// SPDX-License-Identifier: Apache-2.0
/// @file
/// The traversals of the metrics of a `Stat`: first those of the layout, then for each place its
/// own and those of its tapes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/tape_kind.hpp"
#include "tapedeck/layout/stat.hpp"
#include "tapedeck/layout/stat_fields.hpp"

namespace tapedeck::internal {

/// Returns the member for that kind of tape, in any struct with `weights`, `scratch` and `history`.
template <class Side>
[[nodiscard]] constexpr auto& tape_of(Side& side, TapeKind kind) noexcept {
  if (kind == TapeKind::weights) return side.weights;
  return kind == TapeKind::scratch ? side.scratch : side.history;
}

/// Returns the member for a tape of any place, in a `Stat` or any struct that has the host's tapes
/// as members and the devices in `gpu`.
template <class AnyStat>
[[nodiscard]] constexpr auto& tape_of(AnyStat& stat, Place place, TapeKind kind) noexcept {
  return place.is_device() ? tape_of(stat.gpu[place.device()], kind) : tape_of(stat, kind);
}

/// Calls `tape_do(place, kind, tape)` for the three tapes of a place.
template <class Side, class TapeDo>
constexpr void for_each_tape_at(Place place, Side& side, TapeDo&& tape_do) {
  tape_do(place, TapeKind::weights, side.weights);
  tape_do(place, TapeKind::scratch, side.scratch);
  tape_do(place, TapeKind::history, side.history);
}

/// Calls `place_do(place, side)` for the host, with `stat` itself as the side, and for each device.
template <class AnyStat, class PlaceDo>
constexpr void for_each_place(AnyStat& stat, std::size_t gpus, PlaceDo&& place_do) {
  place_do(Place::host(), stat);
  for (std::size_t i = 0; i < gpus; ++i) place_do(Place::gpu(i), stat.gpu[i]);
}

/// Calls `tape_do(place, kind, tape)` for every tape of the host and of the first `gpus` devices.
template <class AnyStat, class TapeDo>
constexpr void for_each_tape(AnyStat& stat, std::size_t gpus, TapeDo&& tape_do) {
  for_each_place(stat, gpus,
                 [&](Place place, auto& side) { for_each_tape_at(place, side, tape_do); });
}
template <class AnyStat, class TapeDo>
constexpr void for_each_tape(AnyStat& stat, TapeDo&& tape_do) {
  for_each_tape(stat, stat.gpus, tape_do);
}

/// What a list of metrics describes: a tape, a place, or the whole layout if neither is set.
struct FigureOwner {
  std::optional<Place> place{};
  std::optional<TapeKind> tape{};
};

/// Returns for example "layout", "gpu0" or "host.scratch".
[[nodiscard]] inline std::string to_string(const FigureOwner& owner) {
  if (!owner.place) return "layout";
  return owner.tape ? to_string(*owner.place) + "." + to_string(*owner.tape)
                    : to_string(*owner.place);
}

/// Calls `list_do(owner, fields, figures)` for each list of metrics of the layout, the host and the
/// first `gpus` devices.
template <class AnyStat, class ListDo>
constexpr void for_each_list(AnyStat& stat, std::size_t gpus, ListDo&& list_do) {
  list_do(FigureOwner{}, kLayoutFields, stat);
  for_each_place(stat, gpus, [&](Place place, auto& side) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(side)>, DeviceStat>) {
      list_do(FigureOwner{place}, kDeviceFields, side);
    }
    for_each_tape_at(place, side, [&](Place, TapeKind kind, auto& tape) {
      list_do(FigureOwner{place, kind}, kTapeFields, tape);
    });
  });
}

/// The members that store the metrics of a list, without the metrics that are computed.
template <const auto& kFields>
inline constexpr auto kMembers = [] {
  constexpr auto is_stored = [](const auto& field) { return field.member != nullptr; };
  std::array<decltype(kFields[0].member), std::ranges::count_if(kFields, is_stored)> members{};
  std::size_t next = 0;
  for (const auto& field : kFields) {
    if (is_stored(field)) members[next++] = field.member;
  }
  return members;
}();

template <class Figures>
inline constexpr auto& kMembersOf = kMembers<kTapeFields>;
template <>
inline constexpr auto& kMembersOf<Stat> = kMembers<kLayoutFields>;
template <>
inline constexpr auto& kMembersOf<DeviceStat> = kMembers<kDeviceFields>;

/// Calls `word_do(word)` for each stored metric of the layout, the host and the first `gpus`
/// devices, to read or to set it. Published files and recordings have their words in this order.
template <class AnyStat, class WordDo>
constexpr void for_each_word(AnyStat& stat, std::size_t gpus, WordDo&& word_do) {
  for_each_list(stat, gpus, [&](const FigureOwner&, const auto&, auto& figures) {
    for (const auto member : kMembersOf<std::remove_cvref_t<decltype(figures)>>) {
      word_do(figures.*member);
    }
  });
}

/// Returns the number of words that `for_each_word` visits.
[[nodiscard]] constexpr std::size_t figure_words(std::size_t gpus) noexcept {
  return kMembersOf<Stat>.size() + gpus * kMembersOf<DeviceStat>.size() +
         (1 + gpus) * kTapeKinds.size() * kMembersOf<TapeStat>.size();
}

/// Adds the metrics of one tape to the sum of several tapes.
inline void add_figures(TapeStat& sum, const TapeStat& one) noexcept {
  // The smaller page size, unless one of them is 0.
  const std::uint64_t page_size =
      sum.page_size == 0 ? one.page_size : std::min(sum.page_size, one.page_size);
  // Unrolled, because engines call `Layout::stat` after each token.
  constexpr const auto& kMembers = kMembersOf<TapeStat>;
  [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
    ((sum.*kMembers[kIndex] += one.*kMembers[kIndex]), ...);
  }
  (std::make_index_sequence<kMembers.size()>());
  sum.page_size = page_size;
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (sum.unmet[i] == 0) sum.unmet[i] = one.unmet[i];
  }
}

/// False for tapes that were never used, such as the host tapes of a device-only layout.
[[nodiscard]] constexpr bool was_asked(const TapeStat& tape) noexcept {
  return tape.reserved != 0 || tape.refused != 0 || tape.spills != 0 || unmet_wishes(tape) != 0;
}

/// Returns the most tokens that one talk has ever held, on the host or on any device.
[[nodiscard]] constexpr std::uint64_t longest_talk(const Stat& stat) noexcept {
  std::uint64_t longest = stat.longest_talk;
  for (std::size_t i = 0; i < stat.gpus; ++i) {
    longest = std::max(longest, stat.gpu[i].longest_talk);
  }
  return longest;
}

/// Whether any talk ever held tokens. An engine may use planned regions without counting tokens.
[[nodiscard]] constexpr bool counts_tokens(const Stat& stat) noexcept {
  return longest_talk(stat) != 0;
}

/// Returns for example "weights" for a tape of the host or "gpu0 weights" for one of a device.
[[nodiscard]] inline std::string tape_name(Place place, TapeKind kind) {
  return (place.is_device() ? to_string(place) + " " : "") + to_string(kind);
}

[[nodiscard]] inline std::string value_text(StatUnit unit, std::uint64_t value) {
  return unit == StatUnit::bytes ? to_iec(value) : std::to_string(value);
}

}  // namespace tapedeck::internal
