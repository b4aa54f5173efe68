// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/stat.hpp"

#include <algorithm>
#include <optional>
#include <ostream>

#include "layout/stat_walk.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

// "scratch: 1/64 MB" in whole MiB, or "scratch: 26.5/28 KiB" if a size would round to 0 MB.
std::string in_mib(const char* name, const TapeStat& tape) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  const std::string start = std::string(name) + ": ";
  const auto rounds_to_zero = [](std::uint64_t bytes) { return bytes != 0 && bytes < kMiB; };
  if (!rounds_to_zero(tape.used) && !rounds_to_zero(tape.reserved)) {
    return start + std::to_string(tape.used / kMiB) + "/" + std::to_string(tape.reserved / kMiB) +
           " MB";
  }
  std::string used = tape.used == 0 ? "0" : to_iec(tape.used);
  const std::string reserved = to_iec(tape.reserved);
  const std::string unit = reserved.substr(reserved.find(' '));
  if (used.ends_with(unit)) used.resize(used.size() - unit.size());  // written once, at the end
  return start + used + "/" + reserved;
}

template <class Tapes>
std::string line_of(const Tapes& tapes) {
  return in_mib("weights", tapes.weights) + " | " + in_mib("scratch", tapes.scratch) + " | " +
         in_mib("history", tapes.history);
}

/// Returns "weights: used 1 KiB, reserved 4 MiB, ...", broken into lines of at most 80 characters.
/// Leaves out what is unknown. @pre the last one is known
template <class Fields, class Figures>
std::string listed(const std::string& name, const Fields& fields, const Figures& figures) {
  constexpr std::size_t kWidth = 80;
  std::string text = name + ":";
  std::size_t column = text.size();
  for (const auto& field : fields) {
    const std::optional<std::uint64_t> value = field.known(figures);
    if (!value) continue;
    std::string item = std::string(field.name) + " " + internal::value_text(field.unit, *value);
    std::replace(item.begin(), item.end(), '_', ' ');
    if (&field != &fields.back()) item += ",";
    const bool fits = column + 1 + item.size() <= kWidth;
    column = (fits ? column + 1 : 2) + item.size();
    text += (fits ? " " : "\n  ") + item;
  }
  return text + "\n";
}

std::string unmet_text(const TapeStat& tape) {
  std::string text;
  for (std::size_t i = 0; i < kWishes; ++i) {
    if (tape.unmet[i] == 0) continue;
    text += std::string("  requested but not granted: ") + to_string(static_cast<Wish>(i)) + " (" +
            errno_name(tape.unmet[i]) + ")\n";
  }
  return text;
}

}  // namespace

std::string DeviceStat::line() const { return line_of(*this); }
std::string Stat::line() const { return line_of(*this); }

std::string Stat::text() const {
  std::string text;
  internal::for_each_list(*this, gpus, [&](const auto& owner, const auto& fields, const auto& of) {
    if constexpr (std::is_same_v<decltype(of), const TapeStat&>) {
      if (!owner.place->is_device() && !internal::was_asked(of)) return;
      text += listed(internal::tape_name(*owner.place, *owner.tape), fields, of) + unmet_text(of);
    } else {
      text += listed(to_string(owner), fields, of);
    }
  });
  return text;
}

std::ostream& operator<<(std::ostream& out, const Stat& stat) { return out << stat.line(); }
std::ostream& operator<<(std::ostream& out, const DeviceStat& stat) { return out << stat.line(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
