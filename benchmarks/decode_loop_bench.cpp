// SPDX-License-Identifier: Apache-2.0
// A loop shaped like decoding: each token takes all of its scratch memory, writes every byte of it,
// and clears it. Measures the steady state, and the first token of a new process.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compare.hpp"
#include "heaps.hpp"
#include "page_faults.hpp"
#include "peers.hpp"
#include "tapedeck/tapedeck.hpp"
#include "trace.hpp"

namespace {

using namespace tapedeck;

constexpr std::size_t kRoom = 4_MiB;  // one token is 3.7 MiB

// --- Allocators of the scratch memory -----------------------------------------------------------

/// Not an allocator: it returns the next bytes of resident memory.
class RawBuffer {
 public:
  RawBuffer() {
    block_.commit(kRoom);
    (void)block_.warm(0, kRoom);
  }

  void* take(std::size_t bytes) {
    std::byte* at = block_.data() + offset_;
    offset_ += bytes;
    return at;
  }
  void end_token() { offset_ = 0; }

 private:
  Block block_ = Block::reserve(kRoom);
  std::size_t offset_ = 0;
};

class WarmTape {
 public:
  void* take(std::size_t bytes) { return tape_.take(bytes); }
  void end_token() { tape_.clear(); }

 private:
  Tape tape_ = Tape::start_warm(kRoom);
};

struct GlibcHeap : peers::Heap<peers::AlignedMalloc> {
  GlibcHeap() : Heap(trace::bytes().size()) {}
};
struct MimallocHeap : peers::Heap<peers::AlignedMimalloc> {
  MimallocHeap() : Heap(trace::bytes().size()) {}
};

template <class Allocator>
[[gnu::noinline]] void token(Allocator& allocator, std::span<const std::size_t> sizes, int value) {
  for (const std::size_t bytes : sizes) {
    void* at = allocator.take(bytes);
    std::memset(at, value, bytes);
    trace::sink(at);
  }
  allocator.end_token();
}

// --- Steady state -------------------------------------------------------------------------------

template <class Allocator>
void steady(benchmark::State& state) {
  const std::vector<std::size_t> sizes = trace::bytes();
  Allocator allocator;
  for (int i = 0; i < 3; ++i) token(allocator, sizes, i);
  int value = 0;
  const long long before = page_faults();
  for (auto _ : state) token(allocator, sizes, ++value);
  const auto faults = static_cast<double>(page_faults() - before);
  state.SetItemsProcessed(state.iterations());
  state.counters["faults"] = faults / static_cast<double>(state.iterations());
}

// --- The first token ----------------------------------------------------------------------------

constexpr std::string_view kChild = "--first-token-of=";

/// What a new process prints.
struct FirstToken {
  double first = 0;      ///< Nanoseconds.
  double median = 0;     ///< Nanoseconds, over the tokens after the first.
  long long faults = 0;  ///< Page faults of the first token.
};

// The allocator and its memory are created before the clock starts, so only the cost of the first
// token counts.
template <class Allocator>
FirstToken measure_first() {
  using Clock = std::chrono::steady_clock;
  const std::vector<std::size_t> sizes = trace::bytes();
  std::vector<double> later(50);
  Allocator allocator;
  const auto timed = [&](int value) {
    const Clock::time_point start = Clock::now();
    token(allocator, sizes, value);
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  };

  FirstToken result;
  const long long before = page_faults();
  result.first = timed(1);
  result.faults = page_faults() - before;
  for (double& time : later) time = timed(2);
  std::nth_element(later.begin(), later.begin() + 25, later.end());
  result.median = later[25];
  return result;
}

template <class Allocator>
int print_first() {
  const FirstToken result = measure_first<Allocator>();
  std::printf("%.1f %.1f %lld\n", result.first, result.median, result.faults);
  return 0;
}

void first(benchmark::State& state, const std::string& command) {
  FirstToken result;
  for (auto _ : state) {
    const std::unique_ptr<FILE, int (*)(FILE*)> child(popen(command.c_str(), "r"), pclose);
    if (!child || std::fscanf(child.get(), "%lf %lf %lld", &result.first, &result.median,
                              &result.faults) != 3) {
      state.SkipWithError("the child process failed");
      break;
    }
    state.SetIterationTime(result.first * 1e-9);
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["over_median"] = result.first / result.median;
  state.counters["faults"] = static_cast<double>(result.faults);
}

// --- All of them --------------------------------------------------------------------------------

struct Kind {
  std::string name;
  void (*steady)(benchmark::State&);
  int (*print_first)();
};

std::vector<Kind> kinds() {
  std::vector<Kind> all{{"raw_buffer", steady<RawBuffer>, print_first<RawBuffer>},
                        {"tape", steady<WarmTape>, print_first<WarmTape>}};
  if (heaps::malloc_is_glibc()) {
    all.push_back({"glibc", steady<GlibcHeap>, print_first<GlibcHeap>});
  }
  if (heaps::mimalloc()) {
    all.push_back({"mimalloc", steady<MimallocHeap>, print_first<MimallocHeap>});
  }
  return all;
}

void add_first(const Kind& kind, const std::string& program) {
  const std::string command = "exec '" + program + "' " + std::string(kChild) + kind.name;
  benchmark::RegisterBenchmark(("first/" + kind.name).c_str(),
                               [=](benchmark::State& state) { first(state, command); })
      ->Iterations(1)
      ->UseManualTime();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string note = heaps::description();
  const std::vector<Kind> all = kinds();
  if (argc == 2 && std::string_view(argv[1]).starts_with(kChild)) {
    const std::string_view name = std::string_view(argv[1]).substr(kChild.size());
    const auto kind =
        std::find_if(all.begin(), all.end(), [&](const Kind& it) { return it.name == name; });
    return kind == all.end() ? 2 : kind->print_first();
  }

  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  for (const Kind& kind : all) {
    benchmark::RegisterBenchmark(("steady/" + kind.name).c_str(), kind.steady)->UseRealTime();
  }
  for (const Kind& kind : all) add_first(kind, program);
  using namespace compare;
  const std::vector<Claim> claims{
      at_most("steady/tape", "steady/raw_buffer", 1.03),
      figure_at_most("steady/tape", 0, "faults"),
      shown("steady/tape", "steady/glibc"),
      shown("steady/tape", "steady/mimalloc"),
      figure_at_most("first/tape", 2, "over_median"),
      figure_at_most("first/tape", 0, "faults"),
      shown("first/tape", "first/glibc"),
      shown("first/tape", "first/mimalloc"),
  };
  return run(argc, argv, claims, {&note, 1});
}
