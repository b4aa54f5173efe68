#include "layout/talk_regions.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "memory/tape_parts.hpp"
#include "memory/warm_pages.hpp"

namespace tapedeck::internal {

TalkRegions::TalkRegions(const TapePlan& plan, Tape& tape)
    : tape_(tape), cursors_(plan, tape.data(), nullptr, 1, tape.name()) {}

TalkRegions::TalkRegions(const TapePlan& plan, Tape& tape, Block& reserved, std::uint64_t step)
    : tape_(tape), cursors_(plan, tape.data(), &reserved, step, tape.name()) {}

// The addresses may serve somebody else next. Only what a token was taken back from is poisoned:
// shadow memory for all that is prepared may be more than there is.
TalkRegions::~TalkRegions() {
  if constexpr (!checking::kListening) return;
  for (const Cursor& cursor : cursors_.cursors()) {
    checking::unpoison(address_of(cursor.at), cursor.filled(cursors_.most()));
  }
}

void TalkRegions::commit_fixed() {
  cursors_.commit_fixed();
  note_committed(false);
}

void TalkRegions::prepare(std::uint64_t tokens) {
  if (cursors_.grow_to(cursors_.after(tokens))) note_committed(true);
}

void TalkRegions::note_committed(bool grew) noexcept {
  if (tape_.total() != 0) tape_.note_planned(cursors_.committed(), grew);
}

std::uint64_t TalkRegions::advance(std::uint64_t tokens) {
  const std::uint64_t first = cursors_.advance(tokens);
  if constexpr (checking::kListening) {
    for (const Cursor& cursor : cursors_.cursors()) {
      const std::size_t from = cursor.filled(first);
      checking::unpoison(address_of(cursor.at) + from, cursor.filled(first + tokens) - from);
    }
  }
  return first;
}

void TalkRegions::rewind(std::uint64_t tokens, bool wipe) noexcept {
  const std::uint64_t held = this->tokens();
  give_back(held - std::min(tokens, held), wipe);
}

void TalkRegions::clear(bool wipe) noexcept {
  give_back(0, wipe);
  if (!wipe) return;
  for (const Cursor& cursor : cursors_.cursors()) {
    const bool usable = cursor.part.size() == 0 || cursor.part.committed() != 0;
    if (!cursor.grows() && usable) {
      overwrite(address_of(cursor.at), address_of(cursor.at) + cursor.bytes, 0);
    }
  }
}

void TalkRegions::give_back(std::uint64_t keep, bool wipe) noexcept {
  const std::uint64_t held = tokens();
  if (wipe || kFillOnGiveBack || checking::kListening) {
    for (const Cursor& cursor : cursors_.cursors()) {
      const std::uintptr_t from = address_of(cursor.at) + cursor.filled(keep);
      const std::uintptr_t to = address_of(cursor.at) + cursor.filled(held);
      if (wipe || kFillOnGiveBack) overwrite(from, to, wipe ? 0 : kGivenBack);
      checking::poison(from, to - from);
    }
  }
  cursors_.keep(keep);
}

// Region by region; the first that is not complete is the last that is tried. What cannot fit as a
// whole must not fill the host first.
WarmResult TalkRegions::warm(const WarmOptions& options) {
  std::size_t bytes = 0;
  for (const Cursor& cursor : cursors_.cursors()) bytes += cursor.part.committed();
  if (const auto budget = beyond_budget(bytes)) {
    return {.end = WarmEnd::over_budget,
            .asked = bytes,
            .available = budget->available,
            .limit = budget->limit};
  }
  WarmResult sum = tape_.warm(options);
  for (Cursor& cursor : cursors_.cursors()) {
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
  if constexpr (checking::kListening) {
    for (const Cursor& cursor : cursors_.cursors()) {
      if (!cursor.grows() || cursor.part.size() == 0) continue;
      const std::size_t keep = cursor.filled(tokens());
      checking::unpoison(address_of(cursor.at) + keep, cursor.filled(cursors_.most()) - keep);
    }
  }
  const std::uint64_t before = cursors_.prepared();
  const std::size_t given_back = cursors_.decommit();
  if (cursors_.prepared() != before) note_committed(false);
  return given_back;
}

}  // namespace tapedeck::internal
