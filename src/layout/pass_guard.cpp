// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/pass_guard.hpp"

#include <functional>

#include "base/amounts.hpp"
#include "os/meminfo.hpp"

// Defined only in programs that link tapedeck::heap_hook.
extern "C" [[gnu::weak]] std::uint64_t tapedeck_heap_allocations() noexcept;

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

std::optional<std::uint64_t> heap_allocations() noexcept {
  if (tapedeck_heap_allocations == nullptr) return std::nullopt;
  return tapedeck_heap_allocations();
}

/// Combines each count of `a` with that of `b`.
template <class Combine>
PassCost combined(const PassCost& a, const PassCost& b, Combine combine) noexcept {
  PassCost cost = {.minor_faults = combine(a.minor_faults, b.minor_faults),
                   .major_faults = combine(a.major_faults, b.major_faults),
                   .grows = combine(a.grows, b.grows),
                   .spills = combine(a.spills, b.spills)};
  if (b.heap_allocations) {
    cost.heap_allocations = combine(a.heap_allocations.value_or(0), *b.heap_allocations);
  }
  return cost;
}

void append(std::string& text, std::uint64_t count, const char* what) {
  if (count == 0) return;
  if (!text.empty()) text += ", ";
  text += internal::count_of(count, what);
}

}  // namespace

bool PassCost::free_of_cost() const noexcept {
  return minor_faults == 0 && major_faults == 0 && heap_allocations.value_or(0) == 0 &&
         grows == 0 && spills == 0;
}

std::string PassCost::text() const {
  std::string text;
  append(text, minor_faults, "minor fault");
  append(text, major_faults, "major fault");
  append(text, heap_allocations.value_or(0), "heap allocation");
  append(text, grows, "commit step");
  append(text, spills, "spilled take");
  return text.empty() ? "nothing" : text;
}

PassViolation::PassViolation(std::uint64_t pass, const PassCost& cost)
    : RuntimeError(
          "pass " + std::to_string(pass) + " cost " + cost.text(),
          "warm the tapes, size them from their peaks, and take what the pass allocates from "
          "scratch"),
      pass_(pass),
      cost_(cost) {}

std::vector<ErrorFact> PassViolation::facts() const {
  return {{"pass", std::to_string(pass_)}, {"cost", cost_.text()}};
}

PassGuard::PassGuard(Layout& layout, PassGuardOptions options)
    : layout_(layout), options_(options) {
  if (layout.guard_ != nullptr) {
    throw WrongState("layout", ObjectState::busy, "the layout already has a PassGuard",
                     "destroy that one first");
  }
  layout.guard_ = this;
  restart();
}

PassGuard::~PassGuard() { layout_.guard_ = nullptr; }

void PassGuard::restart() noexcept { start_ = now(); }

PassCost PassGuard::now() const noexcept {
  const Stat stat = layout_.stat();
  const os::FaultCount faults = os::page_faults();
  return {.minor_faults = faults.minor,
          .major_faults = faults.major,
          .heap_allocations = heap_allocations(),
          .grows = stat.weights.grows + stat.scratch.grows + stat.history.grows,
          .spills = stat.weights.spills + stat.scratch.spills + stat.history.spills};
}

void PassGuard::end_pass() {
  ++passes_;
  last_ = combined(now(), start_, std::minus());
  total_ = combined(total_, last_, std::plus());
  if (!options_.strict || last_.free_of_cost()) return restart();
  try {
    throw PassViolation(passes_, last_);
  } catch (const PassViolation&) {
    restart();  // the cost of the exception itself must not count for the next pass
    throw;
  }
}

}  // namespace tapedeck::inline TAPEDECK_ABI
