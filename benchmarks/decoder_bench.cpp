// SPDX-License-Identifier: Apache-2.0
// Measures a whole decoder: the reference engine on a layout, and a decoder with the same model,
// kernels and threads whose temporaries and KV cache are in std::vector.
#include <benchmark/benchmark.h>

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

#include "cli/made_model.hpp"
#include "compare.hpp"
#include "llama/decoder.hpp"
#include "llama/kernels.hpp"
#include "llama/llama_model.hpp"
#include "llama/thread_pool.hpp"
#include "page_faults.hpp"
#include "tapedeck/tapedeck.hpp"

namespace {

using namespace tapedeck;
using namespace tapedeck::llama;

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

/// Allocates as a straightforward engine does: temporaries where they are needed, and a cache that
/// grows by resize.
class PlainDecoder {
 public:
  PlainDecoder(const LlamaModel& model, ThreadPool& pool)
      : s_(model.shape()),
        w_(model.arrays()),
        frequencies_(model.frequencies()),
        pool_(pool),
        keys_(s_.layers),
        values_(s_.layers) {}

  std::vector<float> forward(TokenId token) {
    const std::size_t position = keys_[0].size() / s_.key_dim();
    std::vector<float> hidden(s_.dim);
    copy_row(hidden, w_.token_embedding, token);
    std::vector<float> rotation(s_.key_head());
    rotation_at(rotation, frequencies_, position);
    for (std::size_t layer = 0; layer < s_.layers; ++layer) {
      attention(layer, position, hidden, rotation);
      feed_forward(layer, hidden);
    }
    rmsnorm(hidden, hidden, w_.final_norm.floats(), s_.norm_epsilon);
    std::vector<float> logits(s_.vocab);
    matmul(pool_, logits, hidden, w_.classifier);
    return logits;
  }

 private:
  static std::span<float> grow(std::vector<float>& cache, std::size_t by) {
    cache.resize(cache.size() + by);
    return std::span(cache).last(by);
  }

  void attention(std::size_t layer, std::size_t position, std::span<float> hidden,
                 std::span<const float> rotation) {
    std::vector<float> normed(s_.dim);
    rmsnorm(normed, hidden, w_.layers[layer].attention_norm.floats(), s_.norm_epsilon);
    std::vector<float> query(s_.query_dim());
    const std::span<float> key = grow(keys_[layer], s_.key_dim());
    const std::span<float> value = grow(values_[layer], s_.value_dim());
    matmul(pool_, query, normed, w_.layers[layer].query);
    matmul(pool_, key, normed, w_.layers[layer].key);
    matmul(pool_, value, normed, w_.layers[layer].value);
    rotate(query, rotation);
    rotate(key, rotation);
    std::vector<float> scores(s_.heads * (position + 1));
    std::vector<float> mixed(s_.mixed_dim());
    attend(pool_, mixed, query, scores, keys_[layer].data(), values_[layer].data(), s_);
    std::vector<float> out(s_.dim);
    matmul(pool_, out, mixed, w_.layers[layer].attention_out);
    add(hidden, out);
  }

  void feed_forward(std::size_t layer, std::span<float> hidden) {
    std::vector<float> normed(s_.dim);
    rmsnorm(normed, hidden, w_.layers[layer].ffn_norm.floats(), s_.norm_epsilon);
    std::vector<float> gate(s_.ffn);
    std::vector<float> up(s_.ffn);
    matmul(pool_, gate, normed, w_.layers[layer].gate);
    matmul(pool_, up, normed, w_.layers[layer].up);
    swiglu(gate, up);
    std::vector<float> out(s_.dim);
    matmul(pool_, out, gate, w_.layers[layer].down);
    add(hidden, out);
  }

  const Shape& s_;
  const LlamaWeights& w_;
  std::span<const float> frequencies_;
  ThreadPool& pool_;
  std::vector<std::vector<float>> keys_;  // by layer: [position][key_dim]
  std::vector<std::vector<float>> values_;
};

TokenId token_at(std::size_t position) {
  return static_cast<TokenId>(1 + position * 7919 % (kShape.vocab - 1));
}

/// Decodes one talk of `kTokens`; calls `each` with the logits of each token.
template <class Each>
void talk(Decoder& decoder, Each each) {
  for (std::size_t position = 0; position < kTokens; ++position) {
    each(position, decoder.forward(token_at(position)));
    decoder.clear_pass();
  }
  decoder.clear_talk();
}

template <class Each>
void plain_talk(const LlamaModel& model, ThreadPool& pool, Each each) {
  PlainDecoder decoder(model, pool);
  for (std::size_t position = 0; position < kTokens; ++position) {
    each(position, decoder.forward(token_at(position)));
  }
}

// The comparison is fair only if both decoders compute the same, to the last bit.
void check_same(Decoder& decoder, const LlamaModel& model, ThreadPool& pool) {
  std::vector<std::vector<float>> expected;
  plain_talk(model, pool, [&](std::size_t, std::vector<float> logits) {
    expected.push_back(std::move(logits));
  });
  talk(decoder, [&](std::size_t position, std::span<const float> logits) {
    if (!std::ranges::equal(logits, expected[position])) {
      throw std::logic_error("the two decoders disagree");
    }
  });
}

/// A new directory. The destructor removes it with its contents.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "tapedeck-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create a directory");
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

/// A generated model on a layout, all of it resident, and its decoder.
class Engine {
 public:
  Engine() { check_same(decoder, model_, pool); }

  [[nodiscard]] const LlamaModel& model() const { return model_; }
  static unsigned threads() { return std::max(1U, std::thread::hardware_concurrency()); }

 private:
  static std::filesystem::path make_in(const std::filesystem::path& directory) {
    std::filesystem::path path = directory / "made.bin";
    const std::atomic<bool> stop{false};
    (void)cli::make_model(path, kShape, 1, stop);
    return path;
  }
  Layout& warm() {
    (void)model_.weights().warm();
    (void)layout_.scratch().warm();
    (void)layout_.history().warm();
    return layout_;
  }

  TemporaryDirectory directory_;
  // Read into private memory, so that the page cache does not matter.
  LlamaModel model_{make_in(directory_.path()), {.way = Way::read}};
  Layout layout_{model_.plan(), model_.options()};

 public:
  ThreadPool pool{threads()};
  Decoder decoder{model_, warm(), pool};
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
  add_row("decode/vectors", [](Engine& engine) { plain_talk(engine.model(), engine.pool, use); });
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
