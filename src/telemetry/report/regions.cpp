#include "telemetry/report/regions.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "base/printable.hpp"
#include "layout/stat_walk.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::internal::report {
namespace {

using Data = kainjow::mustache::data;
using List = kainjow::mustache::list;

constexpr std::size_t kMostRows = 1000;  // of a tape; the picture has no more places either
constexpr std::uint64_t kSteps = 1000;

struct UsedRegion {
  const RecordedRegion* region;
  std::uint64_t used;
};

/// The regions of one tape, as the recording has them.
struct Tape {
  std::string name;
  bool per_talk = false;
  std::vector<UsedRegion> regions{};
  std::uint64_t bytes = 0;
  std::uint64_t used = 0;
};

/// What is planned and does not grow is used as a whole, or not at all.
std::uint64_t used_of(const RecordedRegion& region, const Stat& stat, std::uint64_t longest) {
  if (region.tape == TapeKind::weights) return region.bytes;
  if (region.tape == TapeKind::history && counts_tokens(stat)) {
    return longest == 0 ? 0 : region.filled(longest);
  }
  return stat.passes == 0 ? 0 : region.bytes;
}

Tape planned_tape(const Recording& recording, const Stat& stat, std::uint64_t longest, Place place,
                  TapeKind kind) {
  Tape tape = {.name = to_string(place) + " " + to_string(kind),
               .per_talk = kind == TapeKind::history};
  for (const RecordedRegion& region : recording.regions) {
    if (region.place != place || region.tape != kind) continue;
    const std::uint64_t used = used_of(region, stat, longest);
    tape.regions.push_back({.region = &region, .used = used});
    tape.bytes = saturated_sum(tape.bytes, region.bytes);
    tape.used = saturated_sum(tape.used, used);
  }
  return tape;
}

std::vector<Tape> tapes_of(const Recording& recording, const Stat& stat) {
  std::vector<Tape> all;
  for_each_place(stat, stat.gpus, [&](Place place, const auto& side) {
    for (const TapeKind kind : kTapeKinds) {
      Tape tape = planned_tape(recording, stat, side.longest_talk, place, kind);
      if (!tape.regions.empty()) all.push_back(std::move(tape));
    }
  });
  return all;
}

Data row(const UsedRegion& used) {
  Data row;
  row.set("name", printable(used.region->name));
  row.set("offset", std::to_string(used.region->offset));
  row.set("bytes_value", std::to_string(used.region->bytes));
  row.set("bytes_text", to_iec(used.region->bytes));
  row.set("used_value", std::to_string(used.used));
  row.set("used_text", to_iec(used.used));
  row.set("share", std::to_string(scaled(used.used, used.region->bytes, kSteps)));
  return row;
}

Data box(const char* kind, std::uint64_t x, std::uint64_t width, const std::string& title) {
  Data box;
  box.set("kind", kind);
  box.set("x", std::to_string(x));
  box.set("width", std::to_string(width));
  box.set("title", title);
  return box;
}

/// Where the regions lie, and how much of each is used. What would cover nothing new is left out.
List boxes(const Tape& tape) {
  std::uint64_t extent = 0;
  for (const UsedRegion& used : tape.regions) {
    extent = std::max(extent, saturated_sum(used.region->offset, used.region->bytes));
  }
  List boxes;
  std::uint64_t covered = 0;
  for (const UsedRegion& used : tape.regions) {
    const RecordedRegion& region = *used.region;
    const std::uint64_t begin = std::min(scaled(region.offset, extent, kSteps), kSteps - 1);
    const std::uint64_t end =
        std::max(scaled(saturated_sum(region.offset, region.bytes), extent, kSteps), begin + 1);
    if (end <= covered) continue;
    covered = end;
    const std::string title =
        printable(region.name) + ": " + to_iec(used.used) + " of " + to_iec(region.bytes);
    boxes.push_back(box("planned", begin, end - begin, title));
    const std::uint64_t width = (end - begin) * scaled(used.used, region.bytes, kSteps) / kSteps;
    if (used.used != 0)
      boxes.push_back(box("used", begin, std::max<std::uint64_t>(width, 1), title));
  }
  return boxes;
}

Data section(const Tape& tape) {
  Data section;
  section.set("name", tape.name);
  section.set("regions", std::to_string(tape.regions.size()) +
                             (tape.regions.size() == 1 ? " region" : " regions"));
  section.set("used", to_iec(tape.used));
  section.set("bytes", to_iec(tape.bytes));
  section.set("boxes", Data(boxes(tape)));
  if (tape.per_talk) section.set("per_talk", Data::type::bool_true);
  List rows;
  for (std::size_t i = 0; i < std::min(tape.regions.size(), kMostRows); ++i) {
    rows.push_back(row(tape.regions[i]));
  }
  section.set("entries", Data(rows));
  if (tape.regions.size() > kMostRows) {
    section.set("more", std::to_string(tape.regions.size() - kMostRows));
  }
  return section;
}

}  // namespace

List region_sections(const Recording& recording) {
  const std::size_t samples = recording.samples();
  Stat stat = samples == 0 ? Stat() : recording.sample(samples - 1).stat;
  stat.gpus = recording.gpus;
  List sections;
  for (const Tape& tape : tapes_of(recording, stat)) sections.push_back(section(tape));
  return sections;
}

}  // namespace tapedeck::internal::report
