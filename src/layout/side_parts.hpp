// SPDX-License-Identifier: Apache-2.0
/// @file
/// The member definitions of `Side`, for the sources that instantiate it for one kind of memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "layout/history_mapping.hpp"
#include "layout/layout_thread.hpp"
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
inline constexpr std::size_t kNoBudget = ~std::size_t{0};

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

// Gives one talk room for that many more tokens. Locks only if it has to grow.
template <class Memory>
void Side<Memory>::prepare_one(std::unique_lock<std::mutex>& growing, Core& talk,
                               std::uint64_t tokens) {
  OnFailure refused([&] { talk.count_refusal(); });
  const std::uint64_t wanted = talk.after(tokens);
  if (talk.for_others() != 0 || !talk.has_room(tokens)) {
    if (!growing.owns_lock()) growing.lock();
    talk.claim();
    const std::size_t bytes = talk.has_room(tokens) ? 0 : grow_talk(growing, talk, wanted);
    if (bytes != 0) {
      increase(budget_refusals_, std::uint64_t{1});
      throw_over_budget(
          "preparing " + count_of(tokens, "token") + " for talk " + std::to_string(talk.index),
          bytes, "clear or close talks");
    }
  }
  refused.completed();
}

template <class Memory>
void Side<Memory>::ask_ahead(Core& talk) {
  if (thread_ != nullptr && talk.asks_for(options_.ahead)) thread_->ask(talk.index);
}

template <class Memory>
void Side<Memory>::prepare(std::span<const BasicTalkTokens<Memory>> batch) {
  for (const auto& [talk, tokens] : batch) {
    if (talk.side_ != this) {
      throw InvalidArgument(
          {.argument = "batch"},
          "talk " + std::to_string(talk.index()) + " of the batch is of another layout",
          "prepare it with its own layout");
    }
    static_cast<void>(talk.core().after(tokens));
  }
  std::vector<std::uint64_t> before;  // the tokens that the talks had room for
  before.reserve(batch.size());
  std::unique_lock growing(growing_);
  OnFailure undo([&] {
    if (!growing.owns_lock()) growing.lock();
    while (!before.empty()) {
      Core& talk = batch[before.size() - 1].talk.core();
      static_cast<void>(succeeds([&] { charged_ -= talk.shrink_to(before.back()); }));
      before.pop_back();
    }
  });
  for (const auto& [talk, tokens] : batch) {
    before.push_back(talk.core().prepared.load(std::memory_order_relaxed));
    prepare_one(growing, talk.core(), tokens);
  }
  undo.completed();
  growing.unlock();
  for (const auto& one : batch) ask_ahead(one.talk.core());
}

// Those that need the fewest new pages begin first, and the others give theirs away.
template <class Memory>
std::size_t Side<Memory>::most_talks(std::span<const IdleTalk> idle, std::size_t available) {
  std::size_t given = 0;
  for (const IdleTalk& one : idle) given += one.gives;
  std::size_t needed = 0;
  std::size_t talks = 0;
  for (const IdleTalk& one : idle) {
    needed += one.needs;
    given -= one.gives;
    if (needed > checked_add(available, given).value_or(kNoBudget)) break;
    ++talks;
  }
  return talks;
}

template <class Memory>
std::size_t Side<Memory>::room(std::uint64_t tokens) {
  const Core& any = *talks_.front();
  if (!any.counts_tokens()) any.throw_no_room(tokens);
  if (tokens > regions_->capacity()) {
    throw InvalidArgument(
        {.argument = "tokens", .value = tokens, .limit = regions_->capacity()},
        "a talk of " + count_of(tokens, "token") + " is longer than the plan has room for",
        "plan for a longer context");
  }
  const std::lock_guard growing(growing_);
  const std::size_t least = regions_->pages(0, memory_.page_bytes());
  std::vector<IdleTalk> idle;
  for (const auto& talk : talks_) {
    if (talk->tokens.load(std::memory_order_relaxed) != 0) continue;
    const std::size_t pages = talk->pages();
    const std::size_t gives = talk->for_others() == 0 ? 0 : pages - std::min(pages, least);
    idle.push_back({.needs = talk->missing(tokens), .gives = gives});
  }
  std::ranges::sort(idle, {}, &IdleTalk::needs);
  const std::size_t by_budget = most_talks(idle, budget_left());
  std::size_t needed = 0;
  for (const IdleTalk& one : std::span(idle).first(by_budget)) needed += one.needs;
  if (options_.overcommit) return by_budget;
  return std::min(by_budget, most_talks(idle, memory_.most_new_pages(needed)));
}

template <class Memory>
LimitChange Side<Memory>::limit_histories(std::size_t bytes, std::uint64_t revision) {
  const Core& any = *talks_.front();
  if (!any.counts_tokens()) any.throw_no_room(0);
  std::unique_lock growing(growing_);
  if (revision <= budget_revision_) return LimitChange::stale;
  budget_revision_ = revision;
  history_budget_ = bytes == 0 ? kNoBudget : bytes;
  const auto within = [&] { return charged_ <= history_budget_; };
  while (!within() && !sealed_ && reclaim_from_idle(growing, nullptr)) {
  }
  if (budget_revision_ != revision) return LimitChange::stale;  // set while the lock was released
  return within() ? LimitChange::applied : LimitChange::deferred;
}

// Grows by whole steps, or by only what is needed if less is left. Other talks may
// grow while this one waits for readers.
template <class Memory>
std::size_t Side<Memory>::grow_talk(std::unique_lock<std::mutex>& growing, Core& talk,
                                    std::uint64_t tokens) {
  std::uint64_t wanted = talk.in_steps(tokens);
  while (true) {
    require_unsealed();
    const std::size_t bytes = talk.missing(wanted);
    const bool affordable = bytes <= budget_left();
    if (affordable && memory_.has_pages(bytes)) break;
    if (reclaim_from_idle(growing, &talk)) continue;
    if (affordable) break;  // the pool will create pages
    if (wanted == tokens) return bytes;
    wanted = tokens;
  }
  while (true) {
    try {
      charged_ += talk.grow_to(wanted);
      return 0;
    } catch (const OutOfMemory&) {  // of the host, which the pages of idle talks may help
      if (reclaim_from_idle(growing, &talk)) continue;
      if (wanted == tokens) throw;
      wanted = tokens;
    }
  }
}

// Runs on the layout's thread.
template <class Memory>
void Side<Memory>::grow_ahead(Core& talk) noexcept {
  std::unique_lock growing(growing_);
  // If the talk has been cleared in the meantime, its pages are for other talks.
  const std::uint64_t tokens = talk.asked();
  if (tokens == 0 || talk.for_others() != 0) return;
  try {
    static_cast<void>(grow_talk(growing, talk, tokens));
  } catch (...) {
    // Nothing has changed, as beyond the budget. The `prepare` that needs the room will try again
    // and report the error.
  }
}

// Unmapping is not ordered by streams, and it is not known what still reads the pages. So this
// releases the lock while the device finishes its work, and then takes the pages only if their talk
// has not been used in the meantime.
template <class Memory>
bool Side<Memory>::reclaim_from_idle(std::unique_lock<std::mutex>& growing, const Core* but) {
  for (const auto& talk : talks_) {
    const std::uint64_t cleared = talk->for_others();
    if (talk.get() == but || cleared == 0 || talk->prepared == 0) continue;
    growing.unlock();
    memory_.wait_for_readers();
    growing.lock();
    if (talk->for_others() == cleared && give_back_room(*talk) != 0) return true;
  }
  return false;
}

template <class Memory>
std::size_t Side<Memory>::give_back_room(Core& talk) {
  const std::size_t bytes = talk.decommit();
  charged_ -= bytes;
  return bytes;
}

template <class Memory>
void Side<Memory>::throw_over_budget(const std::string& purpose, std::size_t bytes,
                                     const std::string& instead) const {
  throw OutOfMemory(
      {.purpose = purpose, .limit = "history_budget", .needed = bytes, .available = budget_left()},
      instead + ", or raise " + Memory::kLayoutOptions + "::history_budget");
}

template <class Memory>
void Side<Memory>::require_unsealed() const {
  if (!sealed_) return;
  throw WrongState("layout", ObjectState::sealed,
                   "the layout is sealed, so its talks can neither grow nor shrink",
                   "prepare everything that is needed before seal()");
}

template <class Memory>
std::size_t Side<Memory>::decommit(typename Memory::After after) {
  const std::lock_guard growing(growing_);
  require_unsealed();
  memory_.wait_for(after);
  std::size_t bytes = 0;
  for (const auto& talk : talks_) bytes += give_back_room(*talk);
  return memory_.release(bytes);
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
