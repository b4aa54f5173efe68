// SPDX-License-Identifier: Apache-2.0
// Measures what clearing costs: clear() alone, and together with a take.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <memory_resource>
#include <vector>

#include "compare.hpp"
#include "peers.hpp"
#include "tapedeck/tapedeck.hpp"
#include "trace.hpp"

namespace {

using namespace tapedeck;

constexpr std::size_t kRoom = 1_MiB;
constexpr std::size_t kBytes = 4_KiB;  // of each take

// Each row has a function of its own, and must assume that other code can access the object too.
template <class Object, class Act>
void add(const char* name, Act act) {
  benchmark::RegisterBenchmark(name, [=](benchmark::State& state) {
    Object object;
    for (auto _ : state) {
      benchmark::DoNotOptimize(&object);
      act(object);
      benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
  });
}

struct Naive : peers::NaiveBump {
  Naive() : NaiveBump(kRoom) {}
};
struct Ours {
  Tape tape = Tape::start_warm(kRoom);
};
struct OurLayout {
  Layout layout{{.weights = 4_KiB, .scratch = kRoom, .history = 4_KiB}};
};
struct Monotonic {
  peers::Buffer buffer{kRoom};
  std::pmr::monotonic_buffer_resource resource{buffer.data(), buffer.size()};
};

}  // namespace

int main(int argc, char** argv) {
  add<Naive>("naive_clear", [](Naive& it) { it.end_token(); });
  add<Ours>("clear", [](Ours& it) { it.tape.clear(); });
  add<OurLayout>("clear_pass", [](OurLayout& it) { it.layout.clear_pass(); });
  add<Monotonic>("monotonic_release", [](Monotonic& it) { it.resource.release(); });

  add<Naive>("naive_take_clear", [](Naive& it) {
    trace::use(it.take(kBytes));
    it.end_token();
  });
  add<Ours>("take_clear", [](Ours& it) {
    trace::use(it.tape.try_take(kBytes));
    it.tape.clear();
  });
  add<Ours>("mark_take_rewind", [](Ours& it) {
    const Tape::Mark mark = it.tape.mark();
    trace::use(it.tape.try_take(kBytes));
    it.tape.rewind(mark);
  });
  add<Ours>("scope_take", [](Ours& it) {
    const TapeScope scope(it.tape);
    trace::use(it.tape.try_take(kBytes));
  });

  using namespace compare;
  const std::vector<Claim> claims{
      figure_at_most("clear", 3),
      shown("naive_clear", "clear"),
      shown("naive_take_clear", "take_clear"),
      shown("naive_take_clear", "mark_take_rewind"),
      shown("mark_take_rewind", "scope_take"),
  };
  return run(argc, argv, claims);
}
