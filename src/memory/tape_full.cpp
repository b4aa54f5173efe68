// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/memory/tape_full.hpp"

#include <array>
#include <cstdio>
#include <string>

#include "base/iec.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

// `LayoutOptions` are not known here, but they are where most users meet this error.
constexpr const char* kAdviceWithoutFloor = "reserve a larger tape, or clear it earlier";
constexpr const char* kAdviceAboveFloor =
    "its planned bytes are not for takes: reserve more above them, in a layout with "
    "LayoutOptions::extra";
constexpr const char* kAdviceWithoutMemory =
    "reserve memory for it, in a layout with LayoutOptions::extra";
constexpr const char* kAdviceToPrepare =
    "call prepare earlier, which commits memory for takes or reports why it cannot";

}  // namespace

TapeFull::TapeFull(std::string_view name, std::size_t requested, std::size_t used,
                   std::size_t total, std::size_t floor) noexcept
    : advice_(total == 0                  ? kAdviceWithoutMemory
              : requested <= total - used ? kAdviceToPrepare
              : floor != 0                ? kAdviceAboveFloor
                                          : kAdviceWithoutFloor),
      requested_(requested),
      used_(used),
      total_(total) {
  name_[name.copy(name_, sizeof(name_) - 1)] = '\0';
  const std::array<internal::IecText, 4> text = {
      internal::iec_text(requested), internal::iec_text(used), internal::iec_text(total),
      internal::iec_text(total - used)};
  const auto& [wanted, taken, whole, left] = text;
  if (total == 0) {
    std::snprintf(what_, sizeof(what_),
                  "a tape without memory was asked for %s: it was moved from, or its plan is "
                  "empty; %s",
                  wanted.data(), advice_);
  } else if (requested <= total - used) {
    std::snprintf(what_, sizeof(what_), "tape %s has no committed room for %s, used %s of %s; %s",
                  name_, wanted.data(), taken.data(), whole.data(), advice_);
  } else if (std::string_view(wanted.data()) == left.data()) {
    // Rounded, the message would look as if the room were enough.
    std::snprintf(what_, sizeof(what_), "tape %s is full: requested %zu B, used %zu B of %zu B; %s",
                  name_, requested, used, total, advice_);
  } else {
    std::snprintf(what_, sizeof(what_), "tape %s is full: requested %s, used %s of %s; %s", name_,
                  wanted.data(), taken.data(), whole.data(), advice_);
  }
}

void TapeFull::raise(std::string_view name, std::size_t requested, std::size_t used,
                     std::size_t total, std::size_t floor) {
  throw TapeFull(name, requested, used, total, floor);
}

std::vector<ErrorFact> TapeFull::facts() const {
  return {{"name", name_},
          {"requested", std::to_string(requested_)},
          {"used", std::to_string(used_)},
          {"total", std::to_string(total_)}};
}

}  // namespace tapedeck::inline TAPEDECK_ABI
