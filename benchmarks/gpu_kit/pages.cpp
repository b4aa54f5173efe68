// SPDX-License-Identifier: Apache-2.0
// Measures what each virtual memory call costs, for one page and for a run of pages.
#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "probe.hpp"

namespace tapedeck::gpu_kit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRun = 64;  // pages

enum Step : std::size_t { kReserve, kCreate, kMap, kAccess, kUnmap, kRelease, kUnreserve, kSteps };
constexpr std::array<const char*, kSteps> kNames = {
    "reserve_us", "create_us", "map_us", "access_us", "unmap_us", "release_us", "unreserve_us"};

/// The durations of each step in microseconds, one for each time that it ran.
using Times = std::array<std::vector<double>, kSteps>;

/// How a range of addresses is backed.
struct Shape {
  const char* name;
  std::size_t handles = 1;
  std::size_t pages_of_handle = 1;
  Calls access = Calls::one;
  Calls unmap = Calls::each;
  /// Measure a second mapping of handles that are already mapped.
  bool second = false;
};

constexpr std::array kShapes = {
    Shape{.name = "page"},
    Shape{.name = "page/second_address", .second = true},
    Shape{.name = "run/one_handle", .pages_of_handle = kRun},
    Shape{.name = "run/handles", .handles = kRun},
    Shape{.name = "run/handles_access_each", .handles = kRun, .access = Calls::each},
    Shape{.name = "run/handles_unmap_at_once", .handles = kRun, .unmap = Calls::one},
    Shape{.name = "run/second_address", .handles = kRun, .second = true},
};

template <class Work>
void take_time(Times& times, Step step, const Work& work) {
  const Clock::time_point start = Clock::now();
  work();
  times[step].push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
}

void map_and_unmap(const Gpu& gpu, const Handles& handles, const Shape& shape, Times& times) {
  Mapping mapping(gpu, handles);
  take_time(times, kReserve, [&] { mapping.reserve(); });
  take_time(times, kMap, [&] { mapping.map(); });
  take_time(times, kAccess, [&] { mapping.allow_access(shape.access); });
  take_time(times, kUnmap, [&] { mapping.unmap(shape.unmap); });
  take_time(times, kUnreserve, [&] { mapping.unreserve(); });
}

// Runs the whole life of a shape's pages once.
void live_once(const Gpu& gpu, const Shape& shape, Times& times) {
  Handles handles(gpu, shape.handles, shape.pages_of_handle * gpu.device.info().granularity);
  if (!shape.second) {
    take_time(times, kCreate, [&] { handles.create(); });
    map_and_unmap(gpu, handles, shape, times);
    take_time(times, kRelease, [&] { handles.release(); });
    return;
  }
  handles.create();
  Mapping first(gpu, handles);
  first.reserve();
  first.map();
  first.allow_access(Calls::one);
  map_and_unmap(gpu, handles, shape, times);
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// An item is a whole life; the counters are its steps. The set-up in first calls is not measured.
void measure(benchmark::State& state, const Gpu& gpu, const Shape& shape) {
  Times first;
  live_once(gpu, shape, first);
  Times times;
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    live_once(gpu, shape, times);
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
  }
  state.SetItemsProcessed(state.iterations());
  for (std::size_t step = 0; step < kSteps; ++step) {
    if (!times[step].empty()) state.counters[kNames[step]] = median_of(times[step]);
  }
}

compare::Claim ratio(const char* row, const char* over, Step step) {
  return {std::string("pages/") + row, std::string("pages/") + over, compare::Bound::none, 0,
          kNames[step]};
}

}  // namespace

int probe_pages(Arguments arguments) {
  Gpu gpu(probe_kernels);
  const std::string note =
      gpu_rows::description(gpu.device.info()) + "; a run is " + std::to_string(kRun) + " pages";
  for (const Shape& shape : kShapes) {
    const int lives = shape.handles == 1 ? 32 : 4;
    gpu_rows::add(std::string("pages/") + shape.name, gpu,
                  [shape](benchmark::State& state, const Gpu& it) { measure(state, it, shape); })
        ->UseManualTime()
        ->Iterations(lives);
  }
  const std::array claims{
      ratio("run/handles", "run/one_handle", kCreate),
      ratio("run/handles", "run/one_handle", kMap),
      ratio("run/handles_access_each", "run/handles", kAccess),
      ratio("run/handles_unmap_at_once", "run/handles", kUnmap),
      ratio("page/second_address", "page", kMap),
      ratio("page/second_address", "page", kAccess),
      ratio("run/second_address", "run/handles", kAccess),
  };
  return compare::run(static_cast<int>(arguments.size()), arguments.data(), claims, {&note, 1});
}

}  // namespace tapedeck::gpu_kit
