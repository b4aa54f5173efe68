#include "tapedeck/layout/stat.hpp"

#include <algorithm>
#include <ostream>
#include <span>

#include "layout/stat_sum.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/stat_fields.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

std::string in_mib(const char* name, const TapeStat& tape) {
  return std::string(name) + ": " + std::to_string(tape.used >> 20) + "/" +
         std::to_string(tape.reserved >> 20) + " MB";
}

template <class Tapes>
std::string line_of(const Tapes& tapes) {
  return in_mib("weights", tapes.weights) + " | " + in_mib("scratch", tapes.scratch) + " | " +
         in_mib("history", tapes.history);
}

// As those of the host are where a layout is on devices alone.
bool is_empty(const TapeStat& tape) {
  return tape.reserved == 0 && tape.spills == 0 && tape.refused == 0 &&
         std::all_of(tape.unmet.begin(), tape.unmet.end(), [](auto error) { return error == 0; });
}

std::string value_text(StatUnit unit, std::uint64_t value) {
  return unit == StatUnit::bytes ? to_iec(value) : std::to_string(value);
}

/// "weights: used 1 KiB, reserved 4 MiB, ...", in as many lines as it takes.
template <class Figures>
std::string listed(const std::string& name, std::span<const StatField<Figures>> fields,
                   const Figures& figures) {
  constexpr std::size_t kWidth = 80;
  std::string text = name + ":";
  std::size_t column = text.size();
  for (const StatField<Figures>& field : fields) {
    std::string item = std::string(field.name) + " " + value_text(field.unit, field.of(figures));
    std::replace(item.begin(), item.end(), '_', ' ');
    if (&field != &fields.back()) item += ",";
    const bool fits = column + 1 + item.size() <= kWidth;
    column = (fits ? column + 1 : 2) + item.size();
    text += (fits ? " " : "\n  ") + item;
  }
  return text + "\n";
}

std::string figures(const std::string& name, const TapeStat& tape) {
  std::string text = listed(name, tape_fields(), tape);
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (tape.unmet[i] == 0) continue;
    text += std::string("  asked and not had: ") + to_string(static_cast<Wish>(i)) + " (" +
            errno_name(tape.unmet[i]) + ")\n";
  }
  return text;
}

std::string figures(const std::string& name, const DeviceStat& gpu) {
  return figures(name + " weights", gpu.weights) + figures(name + " scratch", gpu.scratch) +
         figures(name + " history", gpu.history) + listed(name, device_fields(), gpu);
}

}  // namespace

std::string DeviceStat::line() const { return line_of(*this); }
std::string Stat::line() const { return line_of(*this); }

std::string Stat::text() const {
  std::string text;
  if (!is_empty(weights)) text += figures("weights", weights);
  if (!is_empty(scratch)) text += figures("scratch", scratch);
  if (!is_empty(history)) text += figures("history", history);
  text += listed("layout", layout_fields(), *this);
  for (std::size_t i = 0; i < gpus; ++i) text += figures("gpu " + std::to_string(i), gpu[i]);
  return text;
}

std::ostream& operator<<(std::ostream& out, const Stat& stat) { return out << stat.line(); }
std::ostream& operator<<(std::ostream& out, const DeviceStat& stat) { return out << stat.line(); }

TAPEDECK_ABI_END
}  // namespace tapedeck

namespace tapedeck::internal {

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

}  // namespace tapedeck::internal
