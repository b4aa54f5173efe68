// SPDX-License-Identifier: Apache-2.0
/// @file
/// The member definitions of `Side`, for the sources that instantiate it for one kind of memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "layout/history_mapping.hpp"
#include "layout/layout_thread.hpp"
#include "layout/side_growth.hpp"
#include "layout/stat_walk.hpp"
#include "layout/talk_core.hpp"
#include "layout/talk_pages.hpp"
#include "layout/talk_region.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/side.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

inline constexpr std::uint64_t kMostTalks = std::uint64_t{1} << 20;

template <class Memory>
Side<Memory>::Side(const typename Memory::Where& where, Plan plan, const SideOptions& options)
    : plan_(std::move(plan)), options_(options), memory_(where) {
  if (plan_.profile != native_profile().name) {
    throw InvalidArgument({.argument = "Plan::profile"},
                          "the plan predicts the memory of another engine, so no layout can be "
                          "made from it",
                          "make the plan with the native profile");
  }
  for (const auto& [tape, kind] :
       {std::pair(&plan_.weights, TapeKind::weights), std::pair(&plan_.scratch, TapeKind::scratch),
        std::pair(&plan_.history, TapeKind::history)}) {
    if (tape->kind() == kind) continue;
    throw InvalidArgument({.argument = "TapePlan::kind"},
                          "the tape for " + std::string(to_string(kind)) +
                              " in the plan is of the kind " + to_string(tape->kind()),
                          "make each TapePlan with the kind of its member of Plan");
  }
  if (plan_.talks == 0 || plan_.talks > kMostTalks) {
    throw InvalidArgument({.argument = "Plan::talks",
                           .value = plan_.talks,
                           .limit = plan_.talks == 0 ? 1 : kMostTalks},
                          "the plan has " + std::to_string(plan_.talks) +
                              " talks, but a layout must have 1 to " + std::to_string(kMostTalks),
                          "set PlanOptions::sequences or Plan::talks");
  }
  options_.growth_step = std::max<std::uint64_t>(options_.growth_step, 1);
  history_budget_ = options_.history_budget == 0 ? kNoBudget : options_.history_budget;
}

// In a forked child there is no thread to join.
template <class Memory>
Side<Memory>::~Side() {
  if (thread_ != nullptr && !thread_->is_here()) static_cast<void>(thread_.release());
}

template <class Memory>
void Side<Memory>::start_growing_ahead() {
  if (options_.ahead == 0) return;
  thread_ = std::make_unique<LayoutThread>(talks(),
                                           [this](std::size_t talk) { grow_ahead(*talks_[talk]); });
}

template <class Memory>
void Side<Memory>::require_alignment(const TapePlan& plan, const std::string& tape) const {
  if (plan.alignment() <= memory_.widest_alignment()) return;
  throw InvalidArgument({.argument = "Region::alignment",
                         .value = plan.alignment(),
                         .limit = memory_.widest_alignment()},
                        "tape " + tape + " has a region aligned to " + to_iec(plan.alignment()) +
                            ", but its pages are only aligned to " +
                            to_iec(memory_.widest_alignment()));
}

template <class Memory>
auto Side<Memory>::make_tape(const TapePlan& plan, typename Memory::TapeOptions options)
    -> AnyTape {
  require_alignment(plan, options.name);
  const bool at_once = options_.commit == Commit::at_creation ||
                       (options_.commit == Commit::with_talks && plan.kind() != TapeKind::history);
  // If the planned part is only reserved, the part above it must begin on its own page.
  const std::size_t unit = at_once ? 1 : memory_.page_bytes();
  const std::size_t extra = tape_of(options_.extra, plan.kind());
  const auto planned = checked_round_up(plan.bytes(), unit);
  const auto above = checked_round_up(extra, unit);
  const auto total = planned && above ? checked_add(*planned, *above) : std::nullopt;
  if (!total) {
    throw InvalidArgument({.argument = "TapePlan::bytes"},
                          "tape " + options.name + " has more bytes than can be addressed");
  }
  if (*total == 0) return {};
  if (at_once) {
    AnyTape tape = memory_.start(*total, plan, std::move(options));
    tape.prepare(plan.bytes());
    tape.take_planned(plan.bytes());
    return tape;
  }
  if constexpr (Memory::kWritable) options.block.name = "tape " + options.name;
  auto& reserved =
      reserved_.emplace_back(memory_.reserve(*total, std::exchange(options.block, {})));
  auto rest = extra == 0 ? typename Memory::Block() : reserved.part(*planned, *above);
  const std::size_t below = extra == 0 ? plan.bytes() : *planned;
  return AnyTape::behind({reserved.data(), below}, std::move(rest), std::move(options));
}

template <class Memory>
void Side<Memory>::make_histories(const typename Memory::TapeOptions& options) {
  const TapePlan& plan = plan_.history;
  if (options_.commit == Commit::at_creation) {
    const std::size_t bytes = checked_mul(plan.bytes(), plan_.talks).value_or(~std::size_t{0});
    if (bytes > budget_left()) {
      throw_over_budget("committing all of " + count_of(plan_.talks, "talk"), bytes,
                        "use Commit::with_talks, plan fewer or shorter talks");
    }
    charged_ = bytes;
  }
  regions_ = std::make_unique<TalkRegions>(plan);
  histories_.reserve(plan_.talks);
  closed_.reserve(plan_.talks);
  map_histories(options);
  if (history_mapping_ == nullptr) reserved_.reserve(reserved_.size() + plan_.talks);
  for (std::size_t index = 0; index < plan_.talks; ++index) {
    typename Core::Setup setup = {.regions = regions_.get(),
                                  .pages = make_history(options),
                                  .step = options_.growth_step,
                                  .wipe = options_.wipe,
                                  .memory = &memory_};
    AnyTape& tape = histories_.back();
    Core& talk = *talks_.emplace_back(std::make_unique<Core>(index, tape, std::move(setup)));
    if (options_.commit != Commit::with_talks) continue;
    if (const std::size_t bytes = talk.missing(0); bytes > budget_left()) {
      throw_over_budget("what talk " + std::to_string(index) + " holds without tokens", bytes,
                        "plan fewer talks");
    }
    charged_ += talk.grow_to(0);
  }
}

// All histories of the host share one mapping, unless a tape has room for takes above the plan,
// which is committed by the tape.
template <class Memory>
void Side<Memory>::map_histories([[maybe_unused]] const typename Memory::TapeOptions& options) {
  if constexpr (Memory::kWritable) {
    const bool grows = options_.commit != Commit::at_creation && options_.extra.history == 0;
    if (!grows || options_.guard_unprepared) return;
    require_alignment(plan_.history, options.name);
    history_mapping_ = HistoryMapping::create({.plan = plan_.history,
                                               .talks = plan_.talks,
                                               .options = options,
                                               .resident = options_.resident_growth},
                                              growth_refusal_);
  }
}

// Adds the tape of the next talk. Returns its pages, or nullptr if all of them are committed.
template <class Memory>
std::unique_ptr<TalkPages> Side<Memory>::make_history(const typename Memory::TapeOptions& options) {
  const std::size_t index = histories_.size();
  if constexpr (Memory::kWritable) {
    if (history_mapping_ != nullptr) {
      typename Memory::TapeOptions rest = options;
      rest.block = {};
      histories_.push_back(AnyTape::behind({history_mapping_->at(index), plan_.history.bytes()},
                                           typename Memory::Block(), std::move(rest)));
      return history_mapping_->pages_of(index, *regions_);
    }
  }
  const std::size_t reservations = reserved_.size();
  histories_.push_back(make_tape(plan_.history, options));
  if (reserved_.size() == reservations) return nullptr;
  using Parts = PagesOfParts<Memory>;
  typename Parts::Setup setup = {.reserved = reserved_.back(),
                                 .regions = *regions_,
                                 .page = memory_.page_bytes(),
                                 .name = histories_.back().name(),
                                 .growth_refusal = growth_refusal_};
  if constexpr (Memory::kWritable) {
    setup.overcommit = options.block.overcommit;
    setup.resident = options_.resident_growth;
  }
  return std::make_unique<Parts>(std::move(setup));
}

template <class Memory>
BasicTalk<Memory> Side<Memory>::talk(std::size_t index) {
  require_talk(index);
  if (!talks_[index]->is_open()) BasicTalk<Memory>::throw_closed(index);
  return {*this, *talks_[index]};
}

template <class Memory>
BasicTalk<Memory> Side<Memory>::open_talk() {
  const std::lock_guard growing(growing_);
  if (closed_.empty()) {
    throw WrongState("layout", ObjectState::in_use,
                     "the layout has " + internal::count_of(talks(), "talk") + ", and none is free",
                     "close one, or plan for more talks (PlanOptions::sequences)");
  }
  TalkHead& head = *talks_[closed_.back()];
  closed_.pop_back();
  head.generation.fetch_add(1, std::memory_order_relaxed);
  return {*this, head};
}

template <class Memory>
TalkStat Side<Memory>::talk_stat(std::size_t index) const {
  require_talk(index);
  return talks_[index]->stat();
}

template <class Memory>
void Side<Memory>::throw_no_such_talk(std::size_t talk) const {
  throw InvalidArgument(
      {.argument = "talk", .value = talk, .limit = talks() - 1},
      "the layout has " + count_of(talks(), "talk") + ", numbered from 0, but no talk " +
          std::to_string(talk),
      "use a number below " + std::to_string(talks()) +
          ", or make a layout of more talks (PlanOptions::sequences, or LayoutOptions::talks for a "
          "layout made from sizes)");
}

template <class Memory>
std::uint64_t Side<Memory>::restart_history_peaks() noexcept {
  std::uint64_t sum = 0;
  for (const auto& talk : talks_) sum += talk->restart_peak();
  return sum;
}

template <class Memory>
std::size_t Side<Memory>::total_of_tapes() const noexcept {
  std::size_t bytes = weights_.total();
  Memory::each_frame(scratch_, [&](const AnyTape& frame) { bytes += frame.total(); });
  for (const AnyTape& history : histories_) bytes += history.total();
  return bytes;
}

template <class Memory>
template <class Figures>
void Side<Memory>::fill_in(Figures& stat) const noexcept {
  stat.weights = weights_.stat();
  stat.scratch = {};
  Memory::each_frame(scratch_,
                     [&](const AnyTape& frame) { add_figures(stat.scratch, frame.stat()); });
  stat.history = {};
  stat.tokens = stat.room = stat.capacity = 0;
  stat.longest_talk = stat.largest_talk = stat.cleared_tokens = stat.conversations = 0;
  const std::size_t budget = history_budget_.load(std::memory_order_relaxed);
  stat.history_budget = budget == kNoBudget ? 0 : budget;
  stat.budget_refusals = budget_refusals_.load(std::memory_order_relaxed);
  for (const auto& talk : talks_) {
    const TalkStat one = talk->stat();
    add_figures(stat.history, one.history);
    stat.tokens += one.tokens;
    stat.cleared_tokens += talk->cleared_tokens();
    stat.conversations += talk->conversations();
    stat.longest_talk = std::max(stat.longest_talk, talk->most_ever());
    stat.largest_talk = std::max(stat.largest_talk, one.history.peak);
    if (one.capacity == kUnlimitedTokens) continue;
    stat.room += one.room;
    stat.capacity += one.capacity;
  }
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
