// SPDX-License-Identifier: Apache-2.0
// Measures what the growth of a conversation costs: 128 regions (K and V of 64 layers) by 256 rows
// of 2 KiB each.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "compare.hpp"
#include "page_faults.hpp"
#include "tapedeck/tapedeck.hpp"

namespace {

using namespace tapedeck;

constexpr std::uint64_t kRegions = 128;
constexpr std::uint64_t kRow = 2048;
constexpr std::uint64_t kStep = 256;
constexpr std::uint64_t kContext = 8 * kStep;
constexpr std::size_t kRun = kStep * kRow;             // of one region: 512 KiB
constexpr std::size_t kRegionBytes = kContext * kRow;  // 4 MiB

Plan plan_of(std::uint64_t talks, std::uint64_t row = kRow, std::uint64_t context = kContext) {
  Plan plan;
  plan.talks = talks;
  for (std::uint64_t i = 0; i < kRegions; ++i) {
    plan.history.append({.name = "layers." + std::to_string(i),
                         .role = RegionRole::kv,
                         .bytes = row * context,
                         .alignment = 4096,
                         .growth = {.bytes_per_token = row, .capacity = context}});
  }
  return plan;
}

LayoutOptions options(HugePages huge_pages = HugePages::never) {
  LayoutOptions options = {.commit = Commit::with_talks, .growth_step = kStep};
  options.history.block.huge_pages = huge_pages;
  return options;
}

// Each iteration is one growth of 256 tokens. Giving the memory back is not measured.
void grow(benchmark::State& state, const LayoutOptions& options) {
  Layout layout(plan_of(1), options);
  Talk talk = layout.talk(0);
  for (auto _ : state) {
    talk.prepare(kStep);
    benchmark::ClobberMemory();
    state.PauseTiming();
    talk.decommit();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations());
}

/// Addresses without memory, as an engine reserves them by hand.
class Reserved {
 public:
  explicit Reserved(int access) : at_(::mmap(nullptr, kBytes, access, kFlags, -1, 0)) {
    if (at_ == MAP_FAILED) throw std::runtime_error("cannot reserve addresses");
    ::madvise(at_, kBytes, MADV_NOHUGEPAGE);
  }
  ~Reserved() { ::munmap(at_, kBytes); }
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;

  [[nodiscard]] std::byte* region(std::uint64_t i) const {
    return static_cast<std::byte*>(at_) + i * kRegionBytes;
  }
  void drop() const { ::madvise(at_, kBytes, MADV_DONTNEED); }

 private:
  static constexpr std::size_t kBytes = kRegions * kRegionBytes;
  static constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* at_;
};

// What an engine does by hand that reserves addresses and opens them as they are needed.
void open_by_mprotect(benchmark::State& state) {
  const Reserved reserved(PROT_NONE);
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < kRegions; ++i) {
      ::mprotect(reserved.region(i), kRun, PROT_READ | PROT_WRITE);
    }
    state.PauseTiming();
    for (std::uint64_t i = 0; i < kRegions; ++i) ::mprotect(reserved.region(i), kRun, PROT_NONE);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations());
}

// As many bytes in one range, which no arrangement of a cache could bring in any faster.
void populate_one_range(benchmark::State& state) {
  constexpr int kPopulateWrite = 23;
  const Reserved reserved(PROT_READ | PROT_WRITE);
  for (auto _ : state) {
    if (::madvise(reserved.region(0), kRegions * kRun, kPopulateWrite) != 0) {
      state.SkipWithError("this kernel has no MADV_POPULATE_WRITE");
      return;
    }
    state.PauseTiming();
    reserved.drop();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations());
}

// The first token after growth: every row of it is written.
void write_first_rows(benchmark::State& state, const LayoutOptions& options) {
  Layout layout(plan_of(1), options);
  Talk talk = layout.talk(0);
  std::vector<std::byte*> rows;
  for (const Region& region : layout.plan().history.regions()) {
    rows.push_back(layout.history_at(region).data());
  }
  long long faults = 0;
  for (auto _ : state) {
    state.PauseTiming();
    talk.clear();
    talk.decommit();
    talk.prepare(1);
    state.ResumeTiming();
    const long long before = page_faults();
    const std::uint64_t token = talk.advance();
    for (std::byte* row : rows) row[token * kRow] = std::byte{1};
    benchmark::ClobberMemory();
    faults += page_faults() - before;
  }
  state.counters["faults"] = static_cast<double>(faults) / static_cast<double>(state.iterations());
  state.SetItemsProcessed(state.iterations());
}

// Thousands of talks, each of which prepares 16 tokens of 256 bytes in each region.
void make_talks(benchmark::State& state, std::uint64_t talks) {
  constexpr std::uint64_t kSmallRow = 256;
  LayoutOptions asked = options();
  asked.growth_step = 16;
  asked.history.block.overcommit = true;
  for (auto _ : state) {
    Layout layout(plan_of(talks, kSmallRow, kStep), asked);
    benchmark::DoNotOptimize(&layout);
    state.PauseTiming();
    for (std::size_t talk = 0; talk < talks; ++talk) layout.talk(talk).prepare(16);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations());
}

// The work that is not measured takes longer than what is, so the iterations are fixed.
void add(const char* name, int iterations, auto run) {
  benchmark::RegisterBenchmark(name, run)->UseRealTime()->Iterations(iterations);
}

}  // namespace

int main(int argc, char** argv) {
  LayoutOptions in_parts = options();
  in_parts.guard_unprepared = true;
  LayoutOptions resident = options();
  resident.resident_growth = true;
  const LayoutOptions huge = options(HugePages::transparent);
  add("grow", 200, [=](benchmark::State& state) { grow(state, options()); });
  add("grow_with_huge_pages", 200, [=](benchmark::State& state) { grow(state, huge); });
  add("grow_in_parts", 200, [=](benchmark::State& state) { grow(state, in_parts); });
  add("mprotect_by_hand", 200, open_by_mprotect);
  add("grow_resident", 5, [=](benchmark::State& state) { grow(state, resident); });
  add("populate_one_range", 5, populate_one_range);
  add("first_token", 20, [=](benchmark::State& state) { write_first_rows(state, options()); });
  add("first_token_resident", 5,
      [=](benchmark::State& state) { write_first_rows(state, resident); });
  add("create_4096_talks", 1, [](benchmark::State& state) { make_talks(state, 4096); });

  using namespace compare;
  constexpr double kMillisecond = 1e6;  // in nanoseconds
  const std::vector<Claim> claims{
      times_as_fast("grow", "grow_in_parts", 50),
      shown("grow", "mprotect_by_hand"),
      shown("grow_with_huge_pages", "grow_in_parts"),
      at_most("grow_resident", "populate_one_range", 1.1),
      shown("first_token_resident", "first_token"),
      figure_at_most("first_token_resident", 0, "faults"),
      figure_at_most("create_4096_talks", 20 * kMillisecond),
  };
  return run(argc, argv, claims);
}
