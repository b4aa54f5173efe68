#include "tapedeck/layout/layout.hpp"

#include <algorithm>
#include <utility>

#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/pass_guard.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

void add(TapeStat& sum, const TapeStat& one) noexcept {
  sum.reserved += one.reserved;
  sum.committed += one.committed;
  sum.used += one.used;
  sum.peak += one.peak;
  sum.planned += one.planned;
  sum.spilled += one.spilled;
  sum.spilled_peak += one.spilled_peak;
  sum.spills += one.spills;
  sum.refused += one.refused;
  sum.grows += one.grows;
  sum.clears += one.clears;
  sum.page_size = sum.page_size == 0 ? one.page_size : std::min(sum.page_size, one.page_size);
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (sum.unmet[i] == 0) sum.unmet[i] = one.unmet[i];
  }
}

}  // namespace

// Members that exist are undone by the language when a later one throws.
Layout::Layout(const LayoutSizes& sizes, LayoutOptions options) {
  if (options.talks == 0) throw InvalidArgument("a layout with no talk", "ask for at least 1");
  weights_ = Tape::start_warm(sizes.weights, std::move(options.weights));
  scratch_ = Tape::start(sizes.scratch, std::move(options.scratch));
  for (std::size_t talk = 0; talk < options.talks; ++talk) {
    histories_.push_back(Tape::start(sizes.history, options.history));
  }
}

Layout::~Layout() { assert(guard_ == nullptr && "a PassGuard must go before its layout"); }

std::size_t Layout::total() const noexcept {
  std::size_t bytes = weights_.total() + scratch_.total();
  for (const Tape& history : histories_) bytes += history.total();
  return bytes;
}

Stat Layout::stat() const noexcept {
  Stat stat = {.weights = weights_.stat(),
               .scratch = scratch_.stat(),
               .talks = talks(),
               .passes = passes_.load(std::memory_order_relaxed),
               .conversations = conversations_.load(std::memory_order_relaxed)};
  for (const Tape& history : histories_) add(stat.history, history.stat());
  return stat;
}

void Layout::end_guarded_pass() { guard_->end_pass(); }

void Layout::restart_guard() noexcept { guard_->restart(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
