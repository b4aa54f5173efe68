// SPDX-License-Identifier: Apache-2.0
#include "cli/top_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include "base/amounts.hpp"
#include "cli/output.hpp"
#include "layout/stat_walk.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

constexpr std::size_t kLabel = 13;  // "gpu0 weights "
constexpr std::size_t kColumn = 12;
constexpr const char* kLegend = " [#] used  [=] peak  [-] committed  [.] reserved";
constexpr const char* kQuit = "q quits ";

using Lines = std::vector<Line>;

// A line with `left` and `right` at its ends, and at least one space between them.
std::string spread_over(const std::string& left, const std::string& right, std::size_t width) {
  const std::size_t used = left.size() + right.size();
  return left + std::string(used < width ? width - used : 1, ' ') + right;
}

std::size_t cells_of(std::uint64_t part, std::uint64_t whole, std::size_t cells) {
  if (whole == 0 || part == 0) return 0;
  // At least one, so that it is visible.
  return std::clamp<std::size_t>(internal::scaled(part, whole, cells), 1, cells);
}

// The bar of a tape in a line in which other text takes `beside` characters.
std::string bar_of(const TapeStat& tape, std::size_t width, std::size_t beside) {
  const std::size_t cells = width > beside ? width - beside : 1;
  std::string bar(cells, '.');
  const auto draw = [&](std::uint64_t bytes, char with) {
    std::fill_n(bar.begin(), cells_of(bytes, tape.reserved, cells), with);
  };
  draw(tape.committed, '-');
  draw(tape.peak, '=');
  draw(tape.used, '#');
  return "[" + bar + "]";
}

// A bar, and a line with the values below it.
void add_roomy(Lines& lines, const std::string& name, const TapeStat& tape, std::size_t width) {
  lines.push_back({fmt::format(" {:<{}}{}", name, kLabel, bar_of(tape, width, kLabel + 4))});
  std::string figures(kLabel, ' ');
  for (const std::uint64_t bytes :
       {tape.used, tape.peak, tape.committed, tape.reserved, internal::headroom(tape)}) {
    figures += fmt::format("{:>{}}", to_iec(bytes), kColumn);
  }
  lines.push_back({figures});
}

// A bar, and the most important values beside it.
void add_dense(Lines& lines, const std::string& name, const TapeStat& tape, std::size_t width) {
  const std::string figures = fmt::format("{:>11} of {:>10}, {:>10} left", to_iec(tape.used),
                                          to_iec(tape.reserved), to_iec(internal::headroom(tape)));
  const std::string bar = bar_of(tape, width, kLabel + 4 + figures.size());
  lines.push_back({fmt::format(" {:<{}}{}{}", name, kLabel, bar, figures)});
}

std::string state_text(const Look& look) {
  if (!look.refused.empty()) return "cannot be read";
  constexpr std::array texts = {"running", "ENDED", "DEAD: last known values",
                                "of another container, or hidden"};
  return texts[static_cast<std::size_t>(look.state)];
}

// "41 (2.5/s)"
std::string counted(const Look& look, std::uint64_t count, double Rates::*rate) {
  const std::string text = std::to_string(count);
  return look.rates ? fmt::format("{} ({:.1f}/s)", text, *look.rates.*rate) : text;
}

// A layout without a plan does not count tokens.
template <class Side>
bool counts_tokens(const Side& side) {
  return side.capacity != 0 || side.tokens != 0 || side.cleared_tokens != 0;
}

// The rate of a place's tokens, as `Rates::tokens` has it; "unknown" until there are two samples.
std::string rate_text(const Look& look, Place place) {
  if (!look.rates) return "unknown";
  return fmt::format("{:.1f}", look.rates->tokens[place.is_device() ? 1 + place.device() : 0]);
}

// The capacity is 0 if the plan does not limit the length of a talk.
std::string capacity_text(std::uint64_t capacity) {
  return capacity == 0 ? "unlimited" : std::to_string(capacity);
}

std::string tokens_name(Place place) {
  return place.is_device() ? to_string(place) + " tokens" : "tokens";
}

// How full the talks of a place are, as a bar of prepared tokens and those in use, and in numbers.
template <class Side>
std::string tokens_line(const Look& look, Place place, const Side& side, std::size_t width) {
  const std::string figures = fmt::format("{:>9} of {:>9}, {:>8} tokens/s", side.tokens,
                                          capacity_text(side.capacity), rate_text(look, place));
  const TapeStat filled = {.reserved = side.capacity,
                           .committed = internal::saturated_sum(side.tokens, side.room),
                           .used = side.tokens};
  return fmt::format(" {:<{}}{}{}", tokens_name(place), kLabel,
                     bar_of(filled, width, kLabel + 4 + figures.size()), figures);
}

std::string heading_of(const Look& look, std::size_t width) {
  std::string left = fmt::format(" {}  process {}  {}", look.published.name, look.published.process,
                                 state_text(look));
  if (!look.now) return left;
  // The age is exact only to some milliseconds.
  const std::uint64_t age = std::max<std::uint64_t>(look.now->age / 1000, 1000);
  return spread_over(left, fmt::format("published {} ago ", internal::time_text(age)), width);
}

std::string passes_text(const Look& look) {
  const Stat& stat = look.now->stat;
  return fmt::format(" passes {}   conversations ended {}   talks {}",
                     counted(look, stat.passes, &Rates::passes), stat.conversations, stat.talks);
}

// The sums over all tapes.
std::string trouble_text(const Stat& stat) {
  TapeStat all;
  internal::for_each_tape(
      stat, [&](Place, TapeKind, const TapeStat& tape) { internal::add_figures(all, tape); });
  return fmt::format(" spills {} ({} now)   refused {}   growth steps {}", all.spills,
                     to_iec(all.spilled), all.refused, all.grows);
}

std::optional<std::uint64_t> resident(const os::ProcessMemory& memory) {
  return internal::known_sum(internal::known_sum(memory.anonymous, memory.file), memory.shared);
}

std::string process_text(const Look& look) {
  if (!look.faults)
    return " RSS, swap and faults are unknown: its process is gone or not visible here";
  return fmt::format(" RSS {}   swap {}   faults {}, major {}", size_text(resident(look.memory)),
                     size_text(look.memory.swapped),
                     counted(look, look.faults->minor, &Rates::minor_faults),
                     counted(look, look.faults->major, &Rates::major_faults));
}

void add_look(Lines& lines, const Look& look, std::size_t width, bool roomy) {
  lines.push_back({heading_of(look, width), true});
  if (!look.refused.empty()) {
    lines.push_back({" " + printable(look.refused)});
    return;
  }
  if (!look.now) {
    lines.push_back(
        {" no consistent record: the process may have been stopped while it wrote one"});
    return;
  }
  lines.push_back({passes_text(look)});
  lines.push_back({trouble_text(look.now->stat)});
  lines.push_back({process_text(look)});
  if (roomy) {
    std::string titles(kLabel, ' ');
    for (const char* const title : {"used", "peak", "committed", "reserved", "headroom"}) {
      titles += fmt::format("{:>{}}", title, kColumn);
    }
    lines.insert(lines.end(), {{""}, {titles}});
  }
  const Stat& stat = look.now->stat;
  internal::for_each_place(stat, stat.gpus, [&](Place place, const auto& side) {
    internal::for_each_tape_at(place, side, [&](Place, TapeKind kind, const TapeStat& tape) {
      (roomy ? add_roomy : add_dense)(lines, internal::tape_name(place, kind), tape, width);
    });
    if (counts_tokens(side)) lines.push_back({tokens_line(look, place, side, width)});
  });
}

Lines lines_of_all(std::span<const Look> looks, std::size_t width, bool roomy) {
  Lines lines;
  for (const Look& look : looks) {
    if (!lines.empty()) lines.push_back({""});
    add_look(lines, look, width, roomy);
  }
  if (looks.empty()) lines.push_back({" no layout is published"});
  return lines;
}

}  // namespace

std::vector<Line> lines_in_window(std::span<const Look> looks, const std::string& note,
                                  os::WindowSize window) {
  const std::size_t room = window.rows - 1;
  const auto lines_of = [&](bool roomy) {
    Lines lines = lines_of_all(looks, window.columns, roomy);
    if (!note.empty()) lines.insert(lines.begin(), Line{" " + printable(note)});
    return lines;
  };
  Lines lines = lines_of(true);
  if (lines.size() > room) lines = lines_of(false);
  std::string legend = kLegend;
  if (lines.size() > room) {
    legend =
        " " + internal::count_of(lines.size() - room, "more line") + ": make the window taller";
    lines.resize(room);
  }
  lines.resize(room);
  lines.push_back({spread_over(legend, kQuit, window.columns)});
  for (Line& line : lines) {
    if (line.heading || line.text.size() > window.columns) line.text.resize(window.columns, ' ');
  }
  return lines;
}

std::string looks_text(std::span<const Look> looks) {
  std::string text;
  for (const Line& line : lines_of_all(looks, os::WindowSize().columns, true))
    text += line.text + '\n';
  return text + '\n' + kLegend + '\n';
}

std::string look_line(const Look& look) {
  const std::string who =
      fmt::format("{} {} {}", look.published.name, look.published.process, to_string(look.state));
  if (!look.refused.empty()) return fmt::format("{}: {}", who, printable(look.refused));
  if (!look.now) return who + ": no consistent record";
  const Stat& stat = look.now->stat;
  std::string line = fmt::format("{} | {}", who, stat.line());
  internal::for_each_place(stat, stat.gpus, [&](Place place, const auto& side) {
    if (!counts_tokens(side)) return;
    line += fmt::format(" | {} {} of {} ({}/s)", tokens_name(place), side.tokens,
                        capacity_text(side.capacity), rate_text(look, place));
  });
  line += " | passes " + counted(look, stat.passes, &Rates::passes);
  if (look.faults) {
    line +=
        fmt::format(" | RSS {}, swap {} | faults {}, major {}", size_text(resident(look.memory)),
                    size_text(look.memory.swapped), look.faults->minor, look.faults->major);
  }
  return line;
}

}  // namespace tapedeck::cli
