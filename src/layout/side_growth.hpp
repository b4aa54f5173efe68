// SPDX-License-Identifier: Apache-2.0
/// @file
/// The members of `Side` by which talks grow, take pages from each other and give them back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/amounts.hpp"
#include "base/on_failure.hpp"
#include "layout/layout_thread.hpp"
#include "layout/talk_core.hpp"
#include "layout/talk_region.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/side.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

inline constexpr std::size_t kNoBudget = ~std::size_t{0};

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
  struct Prepared {
    Core& talk;
    std::uint64_t before;  // the tokens that it had room for
  };
  std::vector<Prepared> done;
  done.reserve(batch.size());
  std::unique_lock growing(growing_);
  OnFailure undo([&] {
    // A growth that waits for a device has released the lock.
    if (!growing.owns_lock()) static_cast<void>(succeeds([&] { growing.lock(); }));
    for (; !done.empty(); done.pop_back()) {
      const Prepared& last = done.back();
      static_cast<void>(succeeds([&] { charged_ -= last.talk.shrink_to(last.before); }));
    }
  });
  for (const auto& one : batch) {
    Core& talk = one.talk.core();
    done.push_back({.talk = talk, .before = talk.prepared.load(std::memory_order_relaxed)});
    prepare_one(growing, talk, one.tokens);
  }
  undo.completed();
  growing.unlock();
  for (const Prepared& one : done) ask_ahead(one.talk);
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

// Unmapping is not ordered by streams. So this releases the lock while the device finishes the work
// that may read the pages, and then takes them only if their talk has not been used in the
// meantime.
template <class Memory>
bool Side<Memory>::reclaim_from_idle(std::unique_lock<std::mutex>& growing, const Core* but) {
  for (const auto& talk : talks_) {
    const std::uint64_t cleared = talk->for_others();
    if (talk.get() == but || cleared == 0 || talk->prepared == 0) continue;
    growing.unlock();
    talk->wait_for_readers();
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

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
