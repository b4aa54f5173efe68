// A whole decoder: the reference engine on a layout, and the same model, kernels and threads with
// temporaries and KV cache in std::vector, as a straightforward engine has them.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "compare.hpp"
#include "engine/checkpoint.hpp"
#include "engine/decoder.hpp"
#include "engine/kernels.hpp"
#include "engine/make_model.hpp"
#include "engine/thread_pool.hpp"
#include "tapedeck/tapedeck.hpp"

namespace {

using namespace tapedeck;
using namespace tapedeck::engine;

// 109.5 million parameters, 418 MiB in fp32.
constexpr Shape kShape{.dim = 768,
                       .ffn = 2048,
                       .layers = 12,
                       .heads = 12,
                       .kv_heads = 12,
                       .vocab = 32'000,
                       .seq_len = 256,
                       .own_classifier = false};
constexpr std::size_t kTokens = 32;  // of each talk

/// Allocates the ordinary way: temporaries where they are needed, a cache that grows by resize.
class PlainDecoder {
 public:
  PlainDecoder(const Shape& shape, const Weights& weights, ThreadPool& pool)
      : s_(shape), w_(weights), pool_(pool), keys_(shape.layers), values_(shape.layers) {}

  std::vector<float> forward(TokenId token) {
    const std::size_t position = keys_[0].size() / s_.kv_dim();
    const auto embedding = w_.token_embedding.subspan(token * s_.dim, s_.dim);
    std::vector<float> hidden(embedding.begin(), embedding.end());
    std::vector<float> rotation(s_.head_size());
    rotation_at(rotation, position);
    for (std::size_t layer = 0; layer < s_.layers; ++layer) {
      attention(layer, position, hidden, rotation);
      feed_forward(layer, hidden);
    }
    rmsnorm(hidden, hidden, w_.final_norm);
    std::vector<float> logits(s_.vocab);
    matmul(pool_, logits, hidden, w_.classifier);
    return logits;
  }

 private:
  [[nodiscard]] std::span<const float> part(std::span<const float> all, std::size_t layer) const {
    const std::size_t size = all.size() / s_.layers;
    return all.subspan(layer * size, size);
  }

  static std::span<float> grow(std::vector<float>& cache, std::size_t by) {
    cache.resize(cache.size() + by);
    return std::span(cache).last(by);
  }

  void attention(std::size_t layer, std::size_t position, std::span<float> hidden,
                 std::span<const float> rotation) {
    std::vector<float> normed(s_.dim);
    rmsnorm(normed, hidden, part(w_.attention_norm, layer));
    std::vector<float> query(s_.dim);
    const std::span<float> key = grow(keys_[layer], s_.kv_dim());
    const std::span<float> value = grow(values_[layer], s_.kv_dim());
    matmul(pool_, query, normed, part(w_.wq, layer));
    matmul(pool_, key, normed, part(w_.wk, layer));
    matmul(pool_, value, normed, part(w_.wv, layer));
    rotate(query, rotation);
    rotate(key, rotation);
    std::vector<float> scores(s_.heads * (position + 1));
    std::vector<float> mixed(s_.dim);
    attend(pool_, mixed, query, scores,
           {.keys = keys_[layer].data(),
            .values = values_[layer].data(),
            .stride = s_.kv_dim(),
            .positions = position + 1},
           {.heads = s_.heads, .kv_heads = s_.kv_heads});
    std::vector<float> out(s_.dim);
    matmul(pool_, out, mixed, part(w_.wo, layer));
    add(hidden, out);
  }

  void feed_forward(std::size_t layer, std::span<float> hidden) {
    std::vector<float> normed(s_.dim);
    rmsnorm(normed, hidden, part(w_.ffn_norm, layer));
    std::vector<float> gate(s_.ffn);
    std::vector<float> up(s_.ffn);
    matmul(pool_, gate, normed, part(w_.w1, layer));
    matmul(pool_, up, normed, part(w_.w3, layer));
    swiglu(gate, up);
    std::vector<float> out(s_.dim);
    matmul(pool_, out, gate, part(w_.w2, layer));
    add(hidden, out);
  }

  Shape s_;
  Weights w_;
  ThreadPool& pool_;
  std::vector<std::vector<float>> keys_;  // by layer: [position][kv_dim]
  std::vector<std::vector<float>> values_;
};

TokenId token_at(std::size_t position) {
  return static_cast<TokenId>(1 + position * 7919 % (kShape.vocab - 1));
}

/// One talk of `kTokens` on each decoder; `each` gets the logits of each token.
template <class Each>
void talk(Decoder& decoder, Each each) {
  for (std::size_t position = 0; position < kTokens; ++position) {
    each(position, decoder.forward(token_at(position)));
    decoder.layout().clear_pass();
  }
  decoder.layout().clear_talk();
}

template <class Each>
void plain_talk(const Weights& weights, ThreadPool& pool, Each each) {
  PlainDecoder decoder(kShape, weights, pool);
  for (std::size_t position = 0; position < kTokens; ++position) {
    each(position, decoder.forward(token_at(position)));
  }
}

// Only decoders that compute the same may be compared: to the last bit.
void check_same(Decoder& decoder, const Weights& weights, ThreadPool& pool) {
  std::vector<std::vector<float>> expected;
  plain_talk(weights, pool, [&](std::size_t, std::vector<float> logits) {
    expected.push_back(std::move(logits));
  });
  talk(decoder, [&](std::size_t position, std::span<const float> logits) {
    if (!std::ranges::equal(logits, expected[position])) {
      throw std::logic_error("the two decoders disagree");
    }
  });
}

long long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

/// A directory of its own, removed with what is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "tapedeck-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The made model on a layout that is resident, and its decoder.
class Engine {
 public:
  Engine() { check_same(decoder, weights, pool); }

 private:
  static Checkpoint made_in(const std::filesystem::path& directory) {
    const std::filesystem::path path = directory / "made.bin";
    const std::atomic<bool> stop{false};
    (void)make_model(path, kShape, 1, stop);
    return Checkpoint(path);
  }
  static Layout& warm(Layout& layout) {
    (void)layout.scratch().warm();
    (void)layout.history().warm();
    return layout;
  }

  TemporaryDirectory directory_;
  Checkpoint checkpoint_ = made_in(directory_.path());
  Layout layout_{checkpoint_.plan(), checkpoint_.options()};

 public:
  ThreadPool pool{threads()};
  Weights weights = checkpoint_.load(warm(layout_));
  Decoder decoder{kShape, weights, layout_, pool};

  static unsigned threads() { return std::max(1U, std::thread::hardware_concurrency()); }
};

Engine& engine_once() {
  static Engine engine;
  return engine;
}

// A round is one talk.
void add_row(const char* name, void (*run)(Engine&)) {
  benchmark::RegisterBenchmark(
      name,
      [=](benchmark::State& state) {
        Engine& engine = engine_once();
        const long long before = page_faults();
        for (auto _ : state) run(engine);
        const auto tokens = static_cast<std::int64_t>(kTokens) * state.iterations();
        state.SetItemsProcessed(tokens);
        state.counters["faults"] =
            static_cast<double>(page_faults() - before) / static_cast<double>(tokens);
      })
      ->Iterations(1)
      ->UseRealTime();
}

void use(std::size_t, std::span<const float> logits) { benchmark::DoNotOptimize(logits.data()); }

}  // namespace

int main(int argc, char** argv) {
  add_row("decode/layout", [](Engine& engine) { talk(engine.decoder, use); });
  add_row("decode/vectors", [](Engine& engine) { plain_talk(engine.weights, engine.pool, use); });
  const std::vector<compare::Claim> claims{
      compare::no_slower("decode/layout", "decode/vectors"),
      compare::figure_at_most("decode/layout", 0, "faults"),
  };
  const std::string note = "109.5 M parameters in fp32, talks of " + std::to_string(kTokens) +
                           " tokens, " + std::to_string(Engine::threads()) + " threads";
  try {
    return compare::run(argc, argv, claims, {&note, 1});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "decoder_bench: %s\n", error.what());
    return 1;
  }
}
