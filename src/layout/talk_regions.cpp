#include "layout/talk_regions.hpp"

#include <algorithm>

#include "base/on_failure.hpp"
#include "memory/tape_parts.hpp"
#include "memory/warm_pages.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/tape_full.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

// A window's region goes round: it is full and stays so.
std::size_t TalkRegions::Cursor::filled(std::uint64_t tokens) const noexcept {
  return std::min(tokens, growth.capacity) * growth.bytes_per_token;
}

TalkRegions::TalkRegions(const TapePlan& plan, Tape& tape, Block* reserved, std::uint64_t step)
    : tape_(tape), step_(std::max<std::uint64_t>(step, 1)) {
  cursors_.reserve(plan.regions().size());
  for (const Region& region : plan.regions()) {
    if (region.bytes == 0) continue;
    cursors_.push_back(
        {.at = tape.data() + region.offset,
         .bytes = region.bytes,
         .growth = region.growth,
         .part = reserved != nullptr ? reserved->part(region.offset, region.bytes) : Block()});
    // A full-context cache ends the talk; a window's goes round.
    if (region.role == RegionRole::kv && region.growth.bytes_per_token != 0) {
      capacity_ = std::min(capacity_, region.growth.capacity);
    }
  }
  if (reserved == nullptr) prepared_ = capacity_;
}

TalkRegions::TalkRegions(const TapePlan& plan, Tape& tape) : TalkRegions(plan, tape, nullptr, 1) {}

TalkRegions::TalkRegions(const TapePlan& plan, Tape& tape, Block& reserved, std::uint64_t step)
    : TalkRegions(plan, tape, &reserved, step) {}

// The addresses may serve somebody else next. Only what a token was taken back from is poisoned:
// shadow memory for all that is prepared may be more than there is.
TalkRegions::~TalkRegions() {
  if constexpr (!checking::kListening) return;
  for (const Cursor& cursor : cursors_) {
    checking::unpoison(address_of(cursor.at), cursor.filled(most_));
  }
}

void TalkRegions::commit_fixed() {
  for (Cursor& cursor : cursors_) {
    if (!cursor.grows() && cursor.part.size() != 0) cursor.part.commit(cursor.bytes);
  }
  note_committed(false);
}

void TalkRegions::prepare(std::uint64_t tokens) {
  const std::optional<std::uint64_t> sum = checked_add(this->tokens(), tokens);
  if (!sum || *sum > capacity_) refuse(tokens);
  if (*sum > prepared_) commit(*sum);
}

void TalkRegions::commit(std::uint64_t tokens) {
  const std::uint64_t steps = tokens / step_ + (tokens % step_ != 0 ? 1 : 0);
  const std::uint64_t whole = std::min(checked_mul(steps, step_).value_or(capacity_), capacity_);
  OnFailure undo([&] {
    for (Cursor& cursor : cursors_) {
      if (cursor.grows()) cursor.part.decommit(cursor.filled(prepared_));
    }
  });
  for (Cursor& cursor : cursors_) {
    if (cursor.grows() && cursor.part.size() != 0) cursor.part.commit(cursor.filled(whole));
  }
  undo.completed();
  prepared_ = whole;
  note_committed(true);
}

void TalkRegions::note_committed(bool grew) noexcept {
  std::size_t committed = 0;
  for (const Cursor& cursor : cursors_) {
    committed += std::min(cursor.part.committed(), cursor.bytes);
  }
  tape_.note_planned(committed, grew);
}

std::uint64_t TalkRegions::advance(std::uint64_t tokens) {
  const std::uint64_t first = this->tokens();
  if (tokens > prepared_ - first) [[unlikely]]
    refuse(tokens);
  if constexpr (checking::kListening) {
    for (const Cursor& cursor : cursors_) {
      const std::size_t from = cursor.filled(first);
      checking::unpoison(address_of(cursor.at) + from, cursor.filled(first + tokens) - from);
    }
  }
  tokens_.store(first + tokens, std::memory_order_relaxed);
  most_ = std::max(most_, first + tokens);
  return first;
}

void TalkRegions::rewind(std::uint64_t tokens, bool wipe) noexcept {
  const std::uint64_t held = this->tokens();
  give_back(held - std::min(tokens, held), wipe);
}

void TalkRegions::clear(bool wipe) noexcept {
  give_back(0, wipe);
  if (!wipe) return;
  for (const Cursor& cursor : cursors_) {
    const bool usable = cursor.part.size() == 0 || cursor.part.committed() != 0;
    if (!cursor.grows() && usable) {
      overwrite(address_of(cursor.at), address_of(cursor.at) + cursor.bytes, 0);
    }
  }
}

void TalkRegions::give_back(std::uint64_t keep, bool wipe) noexcept {
  const std::uint64_t held = tokens();
  if (wipe || kFillOnGiveBack || checking::kListening) {
    for (const Cursor& cursor : cursors_) {
      const std::uintptr_t from = address_of(cursor.at) + cursor.filled(keep);
      const std::uintptr_t to = address_of(cursor.at) + cursor.filled(held);
      if (wipe || kFillOnGiveBack) overwrite(from, to, wipe ? 0 : kGivenBack);
      checking::poison(from, to - from);
    }
  }
  tokens_.store(keep, std::memory_order_relaxed);
}

// Region by region; the first that is not complete is the last that is tried. What cannot fit as a
// whole must not fill the host first.
WarmResult TalkRegions::warm(const WarmOptions& options) {
  std::size_t bytes = 0;
  for (const Cursor& cursor : cursors_) bytes += cursor.part.committed();
  if (const auto budget = beyond_budget(bytes)) {
    return {.end = WarmEnd::over_budget,
            .asked = bytes,
            .available = budget->available,
            .limit = budget->limit};
  }
  WarmResult sum = tape_.warm(options);
  for (Cursor& cursor : cursors_) {
    if (!sum) break;
    if (cursor.part.committed() == 0) continue;
    WarmResult one = cursor.part.warm(0, cursor.part.committed(), options);
    one.asked += sum.asked;
    one.warmed += sum.warmed;
    one.present =
        one.present && sum.present ? std::optional(*one.present + *sum.present) : std::nullopt;
    sum = std::move(one);
  }
  return sum;
}

std::size_t TalkRegions::decommit() noexcept {
  std::size_t given_back = 0;
  bool parts = false;
  for (Cursor& cursor : cursors_) {
    if (!cursor.grows() || cursor.part.size() == 0) continue;
    parts = true;
    const std::size_t keep = cursor.filled(tokens());
    checking::unpoison(address_of(cursor.at) + keep, cursor.filled(most_) - keep);
    given_back += cursor.part.decommit(keep);
  }
  if (!parts) return 0;
  prepared_ = tokens();
  note_committed(false);
  return given_back;
}

void TalkRegions::refuse(std::uint64_t tokens) const {
  std::size_t bytes = 0;
  for (const Cursor& cursor : cursors_) {
    const auto more = checked_mul<std::size_t>(cursor.growth.bytes_per_token, tokens);
    bytes = more ? checked_add(bytes, *more).value_or(bytes) : bytes;
  }
  std::size_t held = 0;
  std::size_t total = 0;
  for (const Cursor& cursor : cursors_) {
    held += cursor.grows() ? cursor.filled(this->tokens()) : cursor.bytes;
    total += cursor.bytes;
  }
  throw TapeFull(tape_.name(), bytes, held, total);
}

}  // namespace tapedeck::inline TAPEDECK_ABI
