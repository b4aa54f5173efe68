// How long until the first token: from opening the model's file to the logits, as it is brought in.
#include <benchmark/benchmark.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "by_hand.hpp"
#include "compare.hpp"
#include "engine/arrival.hpp"
#include "engine/decoder.hpp"
#include "engine/llama_model.hpp"
#include "engine/make_model.hpp"
#include "engine/thread_pool.hpp"
#include "file_state.hpp"
#include "model_files.hpp"
#include "tapedeck/tapedeck.hpp"

namespace {

using namespace tapedeck;
using namespace tapedeck::engine;
namespace fs = std::filesystem;
using file_state::State;

// 503 million parameters, 1.9 GiB in fp32.
constexpr Shape kShape{.dim = 1536,
                       .ffn = 4096,
                       .layers = 16,
                       .heads = 12,
                       .kv_heads = 12,
                       .vocab = 32'000,
                       .seq_len = 256,
                       .own_classifier = false};

/// What an engine does about its weights before the first pass.
enum class Start {
  nothing,        ///< Mapped, and go: each page faults where it is used first.
  warm_first,     ///< The whole model is warm before the first pass.
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
  return decoder.forward(kBos)[0];
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
  const fs::path path = folder.write("model.bin", "");
  const std::atomic<bool> never{false};
  if (!make_model(path, kShape, 1, never)) return 1;
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
  const std::string note = "one item is a first token of a model of 503 million parameters in fp32";
  return compare::run(argc, argv, claims, {&note, 1});
}
