#include "telemetry/report/planned_regions.hpp"

#include "layout/stat_walk.hpp"

namespace tapedeck::internal {

std::vector<RecordedRegion> planned_regions(const Layout& layout) {
  std::vector<RecordedRegion> regions;
  const auto note = [&regions](Place place, TapeKind tape, const TapePlan& plan) {
    for (const Region& region : plan.regions()) {
      regions.push_back({.place = place,
                         .tape = tape,
                         .name = region.name,
                         .offset = region.offset,
                         .bytes = region.bytes,
                         .bytes_per_token = region.growth.bytes_per_token});
    }
  };
  for_each_tape_at(Place::host(), layout.plan(), note);
  for (std::size_t i = 0; i < layout.gpus(); ++i) {
    for_each_tape_at(Place::gpu(i), layout.gpu(i).plan(), note);
  }
  return regions;
}

}  // namespace tapedeck::internal
