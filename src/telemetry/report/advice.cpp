// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/telemetry/report/advice.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>
#include <utility>

#include "base/amounts.hpp"
#include "layout/stat_walk.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "telemetry/recording/planned_regions.hpp"
#include "telemetry/recording/sample_words.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

constexpr std::uint64_t kContextStep = 256;  // how caches are rounded (PlanOptions::cell_rounding)
constexpr double kMargin = 0.1;              // of what was observed

std::uint64_t beyond(std::uint64_t a, std::uint64_t b) { return a - std::min(a, b); }

std::uint64_t with_margin(std::uint64_t observed) {
  const double more = std::ceil(static_cast<double>(observed) * kMargin);
  return internal::saturated_sum(observed, static_cast<std::uint64_t>(more));
}

std::uint64_t up_to_multiple(std::uint64_t n, std::uint64_t power_of_two) {
  return checked_round_up(n, power_of_two).value_or(UINT64_MAX);
}

std::uint64_t rounded(std::uint64_t bytes) {
  return up_to_multiple(bytes, std::max<std::uint64_t>(std::bit_floor(bytes) / 16, 64_KiB));
}

/// Everything that is known about a layout.
struct Observed {
  const Stat& stat;
  std::span<const RecordedRegion> regions;
};

/// One tape of an observed layout.
struct ObservedTape {
  const Observed& layout;
  Place place;
  TapeKind kind;
  TapeStat stat;
  // Of its place:
  std::uint64_t longest_talk;
  std::uint64_t largest_talk;
  std::uint64_t history_budget;
  std::uint64_t budget_refusals;

  /// Refusals that more memory on the tape would have prevented.
  [[nodiscard]] std::uint64_t refused() const {
    return kind == TapeKind::history ? beyond(stat.refused, budget_refusals) : stat.refused;
  }
  [[nodiscard]] bool over_budget() const {
    return kind == TapeKind::history && budget_refusals != 0;
  }
};

template <class RegionDo>
void each_history_region(const Observed& layout, Place place, RegionDo region_do) {
  for (const RecordedRegion& region : layout.regions) {
    if (region.place == place && region.tape == TapeKind::history) region_do(region);
  }
}

/// What the regions of a planned history use in all talks, with `tokens` in each.
std::uint64_t rows_of(const ObservedTape& tape, std::uint64_t tokens) {
  if (tokens == 0) return 0;
  std::uint64_t bytes = 0;
  each_history_region(tape.layout, tape.place, [&](const RecordedRegion& region) {
    bytes = internal::saturated_sum(bytes, region.filled(tokens));
  });
  return internal::saturated_product(bytes, tape.layout.stat.talks);
}

/// `rows_of`, and the padding between the regions, which does not depend on the tokens.
std::uint64_t filled(const ObservedTape& tape, std::uint64_t tokens) {
  if (tokens == 0) return 0;
  const std::uint64_t padding = beyond(tape.stat.planned, rows_of(tape, UINT64_MAX));
  return internal::saturated_sum(rows_of(tape, tokens), padding);
}

/// Tokens that the regions have room for; 0 if no region grows.
std::uint64_t planned_context(const Observed& layout, Place place) {
  std::uint64_t most = 0;
  each_history_region(layout, place, [&](const RecordedRegion& region) {
    if (region.bytes_per_token != 0) most = std::max(most, region.bytes / region.bytes_per_token);
  });
  return most;
}

/// Tokens to plan for if the longest talk had `longest`.
std::uint64_t context_for(const Observed& layout, Place place, std::uint64_t longest) {
  if (longest == 0) return 0;
  return std::min(up_to_multiple(with_margin(longest), kContextStep),
                  std::max(longest, planned_context(layout, place)));
}

/// Whether the number of tokens determines how full a history is.
bool by_tokens(const ObservedTape& tape) {
  return tape.kind == TapeKind::history && tape.stat.planned != 0 &&
         internal::counts_tokens(tape.layout.stat);
}

/// Whether a planned history may be in use although no tokens were counted in it.
bool may_be_used_uncounted(const ObservedTape& tape) {
  return tape.kind == TapeKind::history && tape.stat.planned != 0 && !by_tokens(tape);
}

/// What an engine that does not count tokens may have used of a planned history, at most: nothing
/// before a first `prepare` or pass, and never more than was committed.
std::uint64_t used_uncounted(const ObservedTape& tape) {
  if (tape.stat.grows != 0) return tape.stat.planned;
  return tape.layout.stat.passes == 0 ? 0 : std::min(tape.stat.planned, tape.stat.committed);
}

void set_sizes(TapeAdvice& advice, const ObservedTape& tape) {
  const TapeStat& stat = tape.stat;
  const bool tokens_tell = by_tokens(tape);
  // Any talk may become the largest next time.
  std::uint64_t peak = tape.kind == TapeKind::history
                           ? internal::saturated_product(tape.largest_talk, tape.layout.stat.talks)
                           : stat.peak;
  if (may_be_used_uncounted(tape)) peak = internal::saturated_sum(peak, used_uncounted(tape));
  advice.reserved = stat.reserved;
  advice.observed = internal::saturated_sum(peak, stat.spilled_peak);
  const std::uint64_t planned = tokens_tell ? rows_of(tape, tape.longest_talk) : stat.planned;
  const std::uint64_t dynamic = beyond(advice.observed, planned);
  const std::uint64_t above = rounded(with_margin(dynamic));
  if (tape.kind == TapeKind::weights) {
    advice.reserve = advice.observed;
  } else if (tokens_tell) {
    const std::uint64_t context = context_for(tape.layout, tape.place, tape.longest_talk);
    advice.observed = internal::saturated_sum(filled(tape, tape.longest_talk), dynamic);
    advice.reserve = internal::saturated_sum(filled(tape, context), above);
  } else {
    advice.reserve = internal::saturated_sum(std::min(stat.planned, advice.observed), above);
  }
  if (tape.refused() == 0) return;
  // The size of a refused take is unknown, but it was more than was free.
  advice.reserve = std::max(advice.reserve, rounded(with_margin(stat.reserved)));
}

TapeFinding finding_of(const TapeAdvice& advice, const ObservedTape& tape) {
  if (tape.refused() != 0) return TapeFinding::refused;
  if (tape.over_budget()) return TapeFinding::over_budget;
  if (tape.stat.spills != 0) return TapeFinding::spilled;
  if (advice.observed == 0) return TapeFinding::unused;
  const bool roomy = advice.reserve < advice.reserved / 4 * 3;
  return roomy ? TapeFinding::roomy : TapeFinding::fits;
}

std::string times(std::uint64_t n) { return n == 1 ? "once" : std::to_string(n) + " times"; }

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "more" : internal::percent_text(part, whole);
}

/// "history peaked at 61 % of plan"; if it exceeded its plan, the share is of what is reserved.
std::string peak_text(const TapeAdvice& advice, const ObservedTape& tape, const std::string& name) {
  const std::uint64_t planned = tape.stat.planned;
  const bool of_plan = planned != 0 && advice.observed <= planned;
  const std::string share =
      of_plan ? percent(advice.observed, planned) + " of plan"
              : percent(advice.observed, advice.reserved) + " of what is reserved";
  if (may_be_used_uncounted(tape))
    return name + " may have used " + share + ", because its tokens are not counted";
  const bool by_largest = tape.kind == TapeKind::history && tape.layout.stat.talks > 1 &&
                          (planned == 0 || internal::counts_tokens(tape.layout.stat));
  return by_largest ? name + " would reach " + share + " if all talks were as long as the longest"
                    : name + " peaked at " + share;
}

std::string budget_text(const ObservedTape& tape) {
  const bool on_device = tape.place.is_device();
  return "prepare was refused " + times(tape.budget_refusals) +
         (on_device ? " on " + to_string(tape.place) : "") + " because the history budget of " +
         to_iec(tape.history_budget) + " was exhausted: raise " +
         (on_device ? "DeviceLayoutOptions" : "LayoutOptions") + "::history_budget, or close talks";
}

/// "history refused a take 3 times, with 64 MiB reserved: reserve 72 MiB and check again".
std::string refused_text(const ObservedTape& tape, const std::string& name,
                         const std::string& reserve) {
  const bool has_talks = tape.kind == TapeKind::history && tape.stat.planned != 0;
  const std::string text = name + " refused a " +
                           (has_talks ? "take, prepare or advance " : "take ") +
                           times(tape.refused()) + ", with " + to_iec(tape.stat.reserved) +
                           " reserved: " + reserve + " and check again";
  return tape.over_budget() ? text + "; " + budget_text(tape) : text;
}

std::string text_of(const TapeAdvice& advice, const ObservedTape& tape) {
  const TapeStat& stat = tape.stat;
  const std::string name = internal::tape_name(tape.place, tape.kind);
  const std::string reserve = (stat.planned != 0 ? "plan " : "reserve ") + to_iec(advice.reserve);
  switch (advice.finding) {
    case TapeFinding::refused:
      return refused_text(tape, name, reserve);
    case TapeFinding::over_budget:
      return budget_text(tape);
    case TapeFinding::spilled:
      return name + " spilled " + times(stat.spills) + ", up to " + to_iec(stat.spilled_peak) +
             " at once: " + reserve;
    case TapeFinding::unused:
      return "nothing was ever taken from " + name;
    case TapeFinding::roomy:
      return peak_text(advice, tape, name) + ": " + to_iec(advice.reserve) + " would do";
    default:
      return peak_text(advice, tape, name) + ": it fits";
  }
}

TapeAdvice advice_of(const ObservedTape& tape) {
  TapeAdvice advice = {.place = tape.place, .tape = tape.kind};
  set_sizes(advice, tape);
  advice.finding = finding_of(advice, tape);
  advice.text = text_of(advice, tape);
  return advice;
}

/// Adds what the talks of one place needed, if their tokens are counted.
void note_talks(Advice& advice, const Observed& layout, Place place, std::uint64_t longest) {
  advice.longest_talk = std::max(advice.longest_talk, longest);
  advice.context = std::max(advice.context, context_for(layout, place, longest));
  if (advice.longest_talk == 0) return;
  advice.text = "the longest talk had " + internal::count_of(advice.longest_talk, "token") +
                ": plan a talk for " + std::to_string(advice.context);
}

Advice advise(const Observed& layout) {
  Advice advice;
  internal::for_each_place(layout.stat, layout.stat.gpus, [&](Place place, const auto& side) {
    note_talks(advice, layout, place, side.longest_talk);
    internal::for_each_tape_at(place, side, [&](Place, TapeKind kind, const TapeStat& stat) {
      if (!internal::was_asked(stat)) return;
      advice.tapes.push_back(advice_of({.layout = layout,
                                        .place = place,
                                        .kind = kind,
                                        .stat = stat,
                                        .longest_talk = side.longest_talk,
                                        .largest_talk = side.largest_talk,
                                        .history_budget = side.history_budget,
                                        .budget_refusals = side.budget_refusals}));
    });
  });
  return advice;
}

}  // namespace

const char* to_string(TapeFinding finding) noexcept {
  constexpr std::array names = {"fits", "roomy", "unused", "spilled", "refused", "over_budget"};
  return names[static_cast<std::size_t>(finding)];
}

Advice advise(const Layout& layout) {
  const std::vector<RecordedRegion> regions = internal::planned_regions(layout);
  const Stat now = layout.stat();
  return advise(Observed{.stat = now, .regions = regions});
}

Advice advise(const Recording& recording) {
  const Stat newest = internal::words::newest_stat(recording);
  return advise(Observed{.stat = newest, .regions = recording.regions});
}

}  // namespace tapedeck::inline TAPEDECK_ABI
