#include "tapedeck/layout/stat.hpp"

#include <algorithm>
#include <ostream>

#include "layout/stat_sum.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

std::string in_mib(const char* name, const TapeStat& tape) {
  return std::string(name) + ": " + std::to_string(tape.used >> 20) + "/" +
         std::to_string(tape.reserved >> 20) + " MB";
}

std::string figures(const std::string& name, const TapeStat& tape) {
  std::string text = name + ": used " + to_iec(tape.used) + " of " + to_iec(tape.reserved) +
                     ", peak " + to_iec(tape.peak) + ", committed " + to_iec(tape.committed) +
                     ", planned " + to_iec(tape.planned) + "\n";
  text += "  clears " + std::to_string(tape.clears) + ", grows " + std::to_string(tape.grows) +
          ", refused " + std::to_string(tape.refused) + ", spilled " + to_iec(tape.spilled) +
          " (peak " + to_iec(tape.spilled_peak) + ", " + std::to_string(tape.spills) +
          " takes), pages of " + to_iec(tape.page_size) + "\n";
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (tape.unmet[i] == 0) continue;
    text += std::string("  asked and not had: ") + to_string(static_cast<Wish>(i)) + " (" +
            errno_name(tape.unmet[i]) + ")\n";
  }
  return text;
}

std::string figures(const std::string& name, const DeviceStat& gpu) {
  std::string text = figures(name + " weights", gpu.weights);
  text += figures(name + " scratch", gpu.scratch);
  text += figures(name + " history", gpu.history);
  text += name + " tokens " + std::to_string(gpu.tokens) + ", pool " + to_iec(gpu.pool_held) +
          ", of it free " + to_iec(gpu.pool_free) + "\n";
  return text;
}

}  // namespace

std::string Stat::line() const {
  return in_mib("weights", weights) + " | " + in_mib("scratch", scratch) + " | " +
         in_mib("history", history);
}

std::string Stat::text() const {
  std::string text = figures("weights", weights) + figures("scratch", scratch) +
                     figures("history", history) + "talks " + std::to_string(talks) + ", tokens " +
                     std::to_string(tokens) + ", passes " + std::to_string(passes) +
                     ", conversations " + std::to_string(conversations) + "\n";
  for (std::size_t i = 0; i < gpus; ++i) text += figures("gpu " + std::to_string(i), gpu[i]);
  return text;
}

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

std::ostream& operator<<(std::ostream& out, const Stat& stat) { return out << stat.line(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
