// SPDX-License-Identifier: Apache-2.0
// Measures what telemetry costs: a token of 50 microseconds with and without all of telemetry, and
// each of its calls, compared with handwritten code.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "compare.hpp"
#include "tapedeck/tapedeck.hpp"
#include "tapedeck/telemetry/live/stat_publisher.hpp"
#include "tapedeck/telemetry/recording/phases.hpp"
#include "tapedeck/telemetry/recording/recorder.hpp"
#include "trace.hpp"

#if defined(TAPEDECK_BENCH_PROMETHEUS)
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#endif

namespace {

using namespace tapedeck;
using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::duration<double, std::nano>;

constexpr std::size_t kDim = 1024;
constexpr std::size_t kRow = 64;   // floats that a token adds to the history
constexpr double kToken = 50'000;  // nanoseconds

// --- A decode loop ------------------------------------------------------------------------------

struct WarmLayout : Layout {
  WarmLayout() : Layout({.weights = 64_KiB, .scratch = 256_KiB, .history = 1_MiB}) {
    (void)scratch().warm();
    (void)history().warm();
    std::ranges::fill(weights().take<float>(kDim), 1.0F);
  }
  std::span<const float> matrix() { return {reinterpret_cast<float*>(weights().data()), kDim}; }
};

[[gnu::noinline]] void compute(std::span<float> to, std::span<const float> weights, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = 0.5F * to[i] + weights[i];
    trace::sink(to.data());
  }
}

void compute_a_token(WarmLayout& layout, int rounds) {
  if (layout.history().free() < kRow * sizeof(float)) layout.clear_talk();
  const std::span<float> hidden = layout.scratch().take<float>(kDim);
  const std::span<float> row = layout.history().take<float>(kRow);
  std::ranges::fill(hidden, 1.0F);
  compute(hidden, layout.matrix(), rounds);
  std::ranges::copy(hidden.first(kRow), row.begin());
}

/// How many rounds of `compute` a token takes. The number is the same for all rows.
int rounds_of_a_token() {
  static const int rounds = [] {
    constexpr int kTried = 1000;
    WarmLayout layout;
    double least = 1e12;
    for (int i = 0; i < 50; ++i) {
      const Clock::time_point start = Clock::now();
      compute_a_token(layout, kTried);
      least = std::min(least, Nanoseconds(Clock::now() - start).count());
      layout.clear_pass();
    }
    return static_cast<int>(kTried * kToken / least);
  }();
  return rounds;
}

struct Unwatched {
  explicit Unwatched(Layout& /*layout*/) {}
  void begin() {}
  void end() {}
  void end_pass() {}
};

/// Uses all of telemetry in each token.
class Watched {
 public:
  explicit Watched(Layout& layout)
      : recorder_(layout), phases_(layout, &recorder_), publisher_(layout, "bench") {}

  void begin() {
    phases_.push("decode");
    phases_.push("attention");
  }
  void end() {
    phases_.pop();
    phases_.pop();
  }
  void end_pass() {
    recorder_.pass();
    publisher_.publish();
  }

 private:
  Recorder recorder_;
  Phases phases_;
  StatPublisher publisher_;
};

/// The counter `median` is the median over single tokens, in nanoseconds.
template <class Watch>
void token(benchmark::State& state) {
  const int rounds = rounds_of_a_token();
  WarmLayout layout;
  Watch watch(layout);
  std::vector<double> tokens;
  tokens.reserve(static_cast<std::size_t>(state.max_iterations));
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    watch.begin();
    compute_a_token(layout, rounds);
    watch.end();
    layout.clear_pass();
    watch.end_pass();
    tokens.push_back(Nanoseconds(Clock::now() - start).count());
  }
  state.SetItemsProcessed(state.iterations());
  const auto middle = tokens.begin() + static_cast<std::ptrdiff_t>(tokens.size() / 2);
  std::ranges::nth_element(tokens, middle);
  state.counters["median"] = *middle;
}

// --- The calls, and handwritten code ------------------------------------------------------------

class RecorderSample {
 public:
  explicit RecorderSample(Layout& layout) : recorder_(layout) {}
  void operator()() { recorder_.pass(); }

 private:
  Recorder recorder_;
};

/// Writes all figures to a ring of the same length that other threads may read.
class StatByHand {
 public:
  explicit StatByHand(Layout& layout) : layout_(layout), ring_(4096) {}
  void operator()() {
    const std::lock_guard lock(mutex_);
    Sample& sample = ring_[taken_++ % ring_.size()];
    sample.at = Clock::now();
    sample.stat = layout_.stat();
  }

 private:
  struct Sample {
    Clock::time_point at;
    Stat stat;
  };
  const Layout& layout_;
  std::mutex mutex_;
  std::vector<Sample> ring_;
  std::size_t taken_ = 0;
};

/// A minimal start: writes two figures of each tape.
class FewByHand {
 public:
  explicit FewByHand(Layout& layout) : layout_(layout), ring_(4096) {}
  void operator()() {
    const std::lock_guard lock(mutex_);
    Sample& sample = ring_[taken_++ % ring_.size()];
    sample.at = Clock::now();
    std::size_t i = 0;
    for (const Tape* tape : {&layout_.weights(), &layout_.scratch(), &layout_.history()}) {
      sample.figures[i++] = tape->used();
      sample.figures[i++] = tape->peak();
    }
  }

 private:
  struct Sample {
    Clock::time_point at;
    std::size_t figures[6];
  };
  Layout& layout_;
  std::mutex mutex_;
  std::vector<Sample> ring_;
  std::size_t taken_ = 0;
};

class Publish {
 public:
  explicit Publish(Layout& layout) : publisher_(layout, "bench") {}
  void operator()() { publisher_.publish(); }

 private:
  StatPublisher publisher_;
};

/// Publishes only to other threads of this process.
class GuardedCopy {
 public:
  explicit GuardedCopy(Layout& layout) : layout_(layout) {}
  void operator()() {
    const Stat now = layout_.stat();
    const std::lock_guard lock(mutex_);
    copy_ = now;
    trace::sink(&copy_);
  }

 private:
  const Layout& layout_;
  std::mutex mutex_;
  Stat copy_;
};

#if defined(TAPEDECK_BENCH_PROMETHEUS)
/// Sets a gauge for each figure of the list.
class Gauges {
 public:
  explicit Gauges(Layout& layout) : layout_(layout) {
    auto& family = prometheus::BuildGauge().Name("figures").Register(registry_);
    const std::size_t count = layout_fields().size() + 3 * tape_fields().size();
    for (std::size_t i = 0; i < count; ++i) {
      gauges_.push_back(&family.Add({{"figure", std::to_string(i)}}));
    }
  }
  void operator()() {
    const Stat now = layout_.stat();
    std::size_t i = 0;
    const auto set = [&](const auto& fields, const auto& figures) {
      for (const auto& field : fields) gauges_[i++]->Set(static_cast<double>(field.of(figures)));
    };
    set(layout_fields(), now);
    for (const TapeStat* tape : {&now.weights, &now.scratch, &now.history}) {
      set(tape_fields(), *tape);
    }
  }

 private:
  const Layout& layout_;
  prometheus::Registry registry_;
  std::vector<prometheus::Gauge*> gauges_;
};
#endif

class PushAndPop {
 public:
  explicit PushAndPop(Layout& layout) : phases_(layout) {}
  void operator()() { const PhaseScope decode(phases_, "decode"); }

 private:
  Phases phases_;
};

/// Keeps by name the maximum of `used` of each tape at the end of a phase. It misses memory that
/// was freed before the end.
class NamedByHand {
 public:
  explicit NamedByHand(Layout& layout) : layout_(layout) {}
  void operator()() {
    const std::lock_guard lock(mutex_);
    Phase& phase = phases_["decode"];
    ++phase.times;
    std::size_t i = 0;
    for (const Tape* tape : {&layout_.weights(), &layout_.scratch(), &layout_.history()}) {
      phase.most[i] = std::max(phase.most[i], tape->used());
      ++i;
    }
  }

 private:
  struct Phase {
    std::uint64_t times = 0;
    std::size_t most[3] = {};
  };
  Layout& layout_;
  std::mutex mutex_;
  std::map<std::string, Phase, std::less<>> phases_;
};

/// Measures the call alone, with all of its data in cache.
template <class Call>
void call(benchmark::State& state) {
  WarmLayout layout;
  Call once(layout);
  for (auto _ : state) once();
  state.SetItemsProcessed(state.iterations());
}

void add(const char* name, void (*row)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, row)->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  add("token/unwatched", token<Unwatched>);
  add("token/watched", token<Watched>);
  add("sample/recorder", call<RecorderSample>);
  add("sample/stat_by_hand", call<StatByHand>);
  add("sample/few_by_hand", call<FewByHand>);
  add("publish/publisher", call<Publish>);
  add("publish/guarded_copy", call<GuardedCopy>);
#if defined(TAPEDECK_BENCH_PROMETHEUS)
  add("publish/gauges", call<Gauges>);
#endif
  add("phase/push_and_pop", call<PushAndPop>);
  add("phase/by_hand", call<NamedByHand>);

  using namespace compare;
  const std::vector<Claim> claims{
      {"token/watched", "token/unwatched", Bound::at_most, 1.05, "median"},
      no_slower("token/watched", "token/unwatched"),
      no_slower("sample/recorder", "sample/stat_by_hand"),
      shown("sample/recorder", "sample/few_by_hand"),
      no_slower("publish/publisher", "publish/guarded_copy"),
      no_slower("publish/publisher", "publish/gauges"),
      shown("phase/push_and_pop", "phase/by_hand"),
  };
  const std::string note = "a token is " + std::to_string(rounds_of_a_token()) + " rounds over " +
                           std::to_string(kDim) + " floats, for 50 microseconds";
  return run(argc, argv, claims, {&note, 1});
}
