#include "telemetry/report/planned_regions.hpp"

#include <cstddef>
#include <string>

#include "telemetry/snapshot/places.hpp"

namespace tapedeck::internal {
namespace {

void add(std::vector<RecordedRegion>& all, const std::string& place, const char* tape,
         const TapePlan& plan) {
  for (const Region& region : plan.regions()) {
    all.push_back({.place = place,
                   .tape = tape,
                   .name = region.name,
                   .offset = region.offset,
                   .bytes = region.bytes,
                   .bytes_per_token = region.growth.bytes_per_token});
  }
}

void add(std::vector<RecordedRegion>& all, const std::string& place, const Plan& plan) {
  add(all, place, "weights", plan.weights);
  add(all, place, "scratch", plan.scratch);
  add(all, place, "history", plan.history);
}

}  // namespace

std::vector<RecordedRegion> planned_regions(const Layout& layout) {
  std::vector<RecordedRegion> regions;
  add(regions, "host", layout.plan());
  for (std::size_t i = 0; i < layout.gpus(); ++i) {
    add(regions, gpu_place(i), layout.gpu(i).plan());
  }
  return regions;
}

}  // namespace tapedeck::internal
