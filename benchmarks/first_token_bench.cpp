// SPDX-License-Identifier: Apache-2.0
// Measures the time to the first token, from opening the model's file to the logits, for each
// method of loading.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "file_state.hpp"
#include "llama/arrival.hpp"
#include "llama/decoder.hpp"
#include "llama/llama_model.hpp"
#include "llama/thread_pool.hpp"
#include "model_files.hpp"
#include "tapedeck/tapedeck.hpp"
#include "tapedeck/weights.hpp"

namespace {

using namespace tapedeck;
using namespace tapedeck::llama;
namespace fs = std::filesystem;
using file_state::State;

// 503 million parameters, 1.9 GiB in f32.
constexpr std::uint32_t kDim = 1536;
constexpr std::uint32_t kFfn = 4096;
constexpr std::uint32_t kLayers = 16;
constexpr std::uint32_t kHeads = 12;
constexpr std::uint32_t kVocabulary = 32'000;

std::string header_of_model(std::uint64_t& data_bytes) {
  constexpr std::uint32_t kTensorsOfALayer = 9;
  model_files::GgufHeader header;
  header.number(std::uint32_t{3}).number(std::uint64_t{kLayers} * kTensorsOfALayer + 2);
  header.number(std::uint64_t{8});
  header.text("general.architecture").number(std::uint32_t{8}).text("llama");
  header.key("llama.block_count", kLayers).key("llama.embedding_length", kDim);
  header.key("llama.attention.head_count", kHeads).key("llama.feed_forward_length", kFfn);
  header.key("llama.context_length", 256).key("llama.vocab_size", kVocabulary);
  header.text("llama.attention.layer_norm_rms_epsilon").number(std::uint32_t{6}).number(1e-5F);
  header.matrix("token_embd.weight", kVocabulary, kDim);
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    header.vector(prefix + "attn_norm.weight", kDim).vector(prefix + "ffn_norm.weight", kDim);
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
      header.matrix(prefix + name + ".weight", kDim, kDim);
    }
    header.matrix(prefix + "ffn_gate.weight", kFfn, kDim);
    header.matrix(prefix + "ffn_up.weight", kFfn, kDim);
    header.matrix(prefix + "ffn_down.weight", kDim, kFfn);
  }
  header.vector("output_norm.weight", kDim);
  data_bytes = header.data_bytes();
  return header.padded();
}

// Random weights that are small enough to keep all numbers finite.
fs::path write_model(const model_files::Folder& folder) {
  std::uint64_t bytes = 0;
  const fs::path path = folder.write("model.gguf", header_of_model(bytes));
  std::ofstream out(path, std::ios::binary | std::ios::app);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> weight(-0.02F, 0.02F);
  std::vector<float> part(std::size_t{1} << 20);
  std::generate(part.begin(), part.end(), [&] { return weight(random); });
  for (std::uint64_t left = bytes; left != 0;) {
    const std::uint64_t now = std::min<std::uint64_t>(left, part.size() * sizeof(float));
    out.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(now));
    left -= now;
  }
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  return path;
}

/// What an engine does with its weights before the first pass.
enum class Start {
  nothing,        ///< It only maps them: each page faults at its first use.
  warm_first,     ///< It warms the whole model before the first pass.
  warm_meanwhile  ///< The first pass waits for each layer.
};

float first_logit(const fs::path& path, Way way, Start start, ThreadPool& pool) {
  LlamaModel model(path, {.way = way});
  Layout layout(model.plan(), model.options());
  Decoder decoder(model, layout, pool);
  std::optional<Arrival> arrival;
  if (start == Start::warm_meanwhile) arrival.emplace(model, decoder);
  if (start == Start::warm_first && !model.weights().warm()) {
    throw std::runtime_error("not enough memory");
  }
  layout.talk(0).prepare(1);
  return decoder.forward(1)[0];
}

void add(const std::string& name, State state, const fs::path& path, Way way, Start start,
         ThreadPool& pool) {
  benchmark::RegisterBenchmark(
      name.c_str(),
      [=, &pool](benchmark::State& run) {
        using Clock = std::chrono::steady_clock;
        for (auto _ : run) {
          file_state::bring_to(state, path);
          file_state::prime(2 * fs::file_size(path));
          const Clock::time_point begin = Clock::now();
          benchmark::DoNotOptimize(first_logit(path, way, start, pool));
          run.SetIterationTime(std::chrono::duration<double>(Clock::now() - begin).count());
        }
        run.SetItemsProcessed(run.iterations());
      })
      ->Iterations(1)
      ->UseManualTime();
}

}  // namespace

int main(int argc, char** argv) {
  const model_files::Folder folder(file_state::disk_folder());
  const fs::path path = write_model(folder);
  ThreadPool pool(std::max(std::thread::hardware_concurrency(), 1U));

  std::vector<compare::Claim> claims;
  for (const auto& [name, state] : {std::pair("cold", State::cold), std::pair("hot", State::hot)}) {
    const std::string prefix = std::string(name) + "/";
    add(prefix + "tapedeck", state, path, Way::automatic, Start::warm_meanwhile, pool);
    add(prefix + "tapedeck_warm_first", state, path, Way::automatic, Start::warm_first, pool);
    add(prefix + "mmap_and_go", state, path, Way::map, Start::nothing, pool);
    add(prefix + "read_everything_first", state, path, Way::read, Start::warm_first, pool);
    for (const char* peer : {"mmap_and_go", "read_everything_first"}) {
      claims.push_back(compare::no_slower(prefix + "tapedeck", prefix + peer));
    }
    claims.push_back(compare::shown(prefix + "tapedeck", prefix + "tapedeck_warm_first"));
  }
  const std::string note =
      "an item is the first token of a model of 503 million parameters in fp32";
  return compare::run(argc, argv, claims, {&note, 1});
}
