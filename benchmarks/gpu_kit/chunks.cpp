// SPDX-License-Identifier: Apache-2.0
// Reads K as attention does, from chunks of T rows: a chunk holds T tokens of all layers.
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "probe.hpp"
#include "rows.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/device/device_tape.hpp"

namespace tapedeck::gpu_kit {
namespace {

constexpr std::array<unsigned, 4> kRowsOfChunk = {1, 16, 64, 256};
constexpr unsigned kThreads = 256;

std::vector<float> query() {
  std::vector<float> made(kColumns);
  for (unsigned column = 0; column < kColumns; ++column) {
    made[query_index(column)] = static_cast<float>(query_at(column));
  }
  return made;
}

/// The scores of all heads of a region, computed by the host.
std::vector<float> expected_scores(unsigned region, unsigned tokens) {
  std::vector<float> scores(std::size_t{tokens} * kKvHeads);
  for (unsigned token = 0; token < tokens; ++token) {
    for (unsigned column = 0; column < kColumns; ++column) {
      scores[token * kKvHeads + column / kHeadDim] +=
          static_cast<float>(key_at(region, token, column) * query_at(column));
    }
  }
  return scores;
}

/// A cache in pages of the device, with a handle for each page as in a layout, and the other memory
/// that the kernels need. Contexts up to `tokens` use the same pages.
class Cache {
 public:
  Cache(Gpu& gpu, unsigned tokens)
      : gpu_(gpu),
        handles_(gpu, pages(gpu, tokens), gpu.device.info().granularity),
        mapping_(gpu, handles_),
        small_(DeviceTape::start(gpu.device, small_bytes(tokens))),
        query_(small_.take<float>(kColumns)),
        scores_(small_.take<float>(std::size_t{tokens} * kKvHeads)) {
    handles_.create();
    mapping_.reserve();
    mapping_.map();
    mapping_.allow_access(Calls::one);
    const std::vector<float> values = query();
    gpu.device.copy(reinterpret_cast<std::byte*>(query_.data()),
                    reinterpret_cast<const std::byte*>(values.data()), query_.bytes(),
                    gpu.stream.handle());
    gpu.stream.synchronize();
  }

  /// Sets how the rows of a context are arranged, and fills them.
  void arrange(unsigned tokens, unsigned rows_of_chunk) {
    rows_ = {.base = reinterpret_cast<unsigned char*>(mapping_.at()),
             .log2_rows_of_chunk = static_cast<unsigned>(std::countr_zero(rows_of_chunk)),
             .tokens = tokens};
    constexpr std::size_t kReadsOfToken = std::size_t{kRegions} * kRowBytes / 16;
    fill_.launch(Grid::over(tokens * kReadsOfToken), gpu_.stream.handle(), rows_);
  }

  /// Reads all rows of one K.
  void score(unsigned layer) {
    score_.launch({.blocks = (rows_.tokens * kWarp + kThreads - 1) / kThreads, .threads = kThreads},
                  gpu_.stream.handle(), rows_, 2 * layer, query_.data(), scores_.data());
  }

  /// The scores of the K that was read last.
  [[nodiscard]] std::vector<float> scores() const {
    std::vector<float> got(std::size_t{rows_.tokens} * kKvHeads);
    gpu_.device.copy(reinterpret_cast<std::byte*>(got.data()),
                     reinterpret_cast<const std::byte*>(scores_.data()), got.size() * sizeof(float),
                     gpu_.stream.handle());
    gpu_.stream.synchronize();
    return got;
  }

  [[nodiscard]] std::size_t bytes_of_layer() const { return std::size_t{rows_.tokens} * kRowBytes; }

 private:
  static std::size_t pages(const Gpu& gpu, unsigned tokens) {
    const std::size_t page = gpu.device.info().granularity;
    return (std::size_t{tokens} * kRegions * kRowBytes + page - 1) / page;
  }
  static std::size_t small_bytes(unsigned tokens) {
    return (std::size_t{tokens} * kKvHeads + kColumns) * sizeof(float) + 2 * kDeviceLine;
  }

  using Fill = Kernel<Rows>;
  using Score = Kernel<Rows, unsigned, const float*, float*>;

  Gpu& gpu_;
  Handles handles_;
  Mapping mapping_;
  DeviceTape small_;
  DeviceSpan<float> query_;
  DeviceSpan<float> scores_;
  Rows rows_{};
  Fill fill_ = gpu_.module.find<Fill>("fill_rows");
  Score score_ = gpu_.module.find<Score>("score_rows");
};

/// Compares the scores of the first and of the last layer with the host's.
class Judge {
 public:
  [[nodiscard]] bool finds_right(Cache& cache, unsigned tokens) {
    for (const unsigned layer : {0U, kLayers - 1}) {
      const auto [at, is_new] = expected_.try_emplace({tokens, layer});
      if (is_new) at->second = expected_scores(2 * layer, tokens);
      cache.score(layer);
      if (cache.scores() == at->second) continue;
      all_right_ = false;
      return false;
    }
    return true;
  }

  /// Whether all scores that were compared are right.
  [[nodiscard]] bool all_right() const { return all_right_; }

 private:
  std::map<std::pair<unsigned, unsigned>, std::vector<float>> expected_;
  bool all_right_ = true;
};

struct Reading {
  unsigned tokens;
  unsigned rows_of_chunk;
};

// An item is the K of one layer. An iteration reads the K of every layer, one kernel after the
// other.
void read(benchmark::State& state, const Gpu& gpu, Cache& cache, Judge& judge,
          const Reading& reading) {
  cache.arrange(reading.tokens, reading.rows_of_chunk);
  cache.score(0);
  gpu.stream.synchronize();
  gpu_rows::Stopwatch watch(gpu.stream.handle());
  double all = 0;
  for (auto _ : state) {
    watch.start();
    for (unsigned layer = 0; layer < kLayers; ++layer) cache.score(layer);
    const double seconds = watch.stop();
    state.SetIterationTime(seconds);
    all += seconds;
  }
  const auto layers = state.iterations() * kLayers;
  state.SetItemsProcessed(layers);
  state.counters["GB/s"] =
      static_cast<double>(cache.bytes_of_layer()) * static_cast<double>(layers) / 1e9 / all;
  if (!judge.finds_right(cache, reading.tokens)) state.SkipWithError("the scores are wrong");
}

std::string name_of(const Reading& reading) {
  const std::string context = reading.tokens % 1024 == 0
                                  ? std::to_string(reading.tokens / 1024) + "K"
                                  : std::to_string(reading.tokens);
  const bool in_one_run = reading.rows_of_chunk == reading.tokens;
  return "chunks/" + context + "/T=" + (in_one_run ? "all" : std::to_string(reading.rows_of_chunk));
}

/// The contexts to measure, shortest first. Empty if the argument is not a valid context.
std::vector<unsigned> take_contexts(Arguments& arguments) {
  const std::string text = compare::take_value(arguments, "--tokens=").value_or("");
  if (text.empty()) return {8 * 1024, 32 * 1024};
  unsigned tokens = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tokens);
  const bool is_number = error == std::errc{} && end == text.data() + text.size();
  const bool fits =
      tokens > kRowsOfChunk.back() && tokens <= 1U << 20 && std::has_single_bit(tokens);
  return is_number && fits ? std::vector{tokens} : std::vector<unsigned>{};
}

}  // namespace

int probe_chunks(Arguments arguments) {
  const std::vector<unsigned> contexts = take_contexts(arguments);
  if (contexts.empty()) {
    std::fprintf(stderr, "--tokens takes a power of two greater than %u\n", kRowsOfChunk.back());
    return 2;
  }
  Gpu gpu(probe_kernels);
  Cache cache(gpu, contexts.back());
  Judge judge;
  std::vector<compare::Claim> claims;
  for (const unsigned tokens : contexts) {
    std::vector<unsigned> sizes(kRowsOfChunk.begin(), kRowsOfChunk.end());
    sizes.push_back(tokens);
    for (const unsigned rows : sizes) {
      const Reading reading = {.tokens = tokens, .rows_of_chunk = rows};
      gpu_rows::add(name_of(reading), gpu, [&, reading](benchmark::State& state, const Gpu& it) {
        read(state, it, cache, judge, reading);
      })->UseManualTime();
      if (rows != tokens) {
        claims.push_back(
            compare::shown(name_of({.tokens = tokens, .rows_of_chunk = tokens}), name_of(reading)));
      }
    }
  }
  const std::string note = gpu_rows::description(gpu.device.info());
  const int exit_code =
      compare::run(static_cast<int>(arguments.size()), arguments.data(), claims, {&note, 1});
  return judge.all_right() ? exit_code : 1;
}

}  // namespace tapedeck::gpu_kit
