// SPDX-License-Identifier: Apache-2.0
// Measures what planning a model from its files' headers costs: reading them, and the plan itself.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "compare.hpp"
#include "model_files.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/plan.hpp"

namespace {

using namespace tapedeck;
using model_files::Folder;
using model_files::GgufHeader;
using model_files::kHidden;
using model_files::Nothing;
using model_files::safetensors_header;
namespace fs = std::filesystem;

// --- The heap -----------------------------------------------------------------------------------

// Counts the heap of the planning thread, which is the only thread.
struct HeapMeter {
  std::size_t used = 0;
  std::size_t peak = 0;
};
HeapMeter heap;

void* counted(void* at) {
  if (at == nullptr) throw std::bad_alloc();
  heap.used += malloc_usable_size(at);
  heap.peak = std::max(heap.peak, heap.used);
  return at;
}

void discount(void* at) noexcept {
  if (at != nullptr) heap.used -= malloc_usable_size(at);
  std::free(at);
}

// --- Models -------------------------------------------------------------------------------------

constexpr const char* kConfig =
    R"({"model_type":"llama","hidden_size":64,"num_hidden_layers":8,"num_attention_heads":4,)"
    R"("intermediate_size":128,"vocab_size":1000,"max_position_embeddings":4096})";

fs::path write_safetensors(const Folder& models, std::size_t tensors) {
  const std::string header = safetensors_header(tensors);
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  const std::string folder = std::to_string(tensors);
  models.write(folder + "/config.json", kConfig);
  return models.write(folder + "/model.safetensors", bytes + header);
}

/// 1,056 tensors in 48 layers.
std::string gguf(std::size_t vocabulary) {
  constexpr std::uint32_t kLayers = 48;
  constexpr std::uint64_t kTensorsOfALayer = 22;
  GgufHeader header;
  header.number(std::uint32_t{3}).number(kLayers * kTensorsOfALayer);
  header.number(std::uint64_t{vocabulary == 0 ? 7U : 9U});
  header.text("general.architecture").number(std::uint32_t{8}).text("llama");
  header.key("llama.block_count", kLayers).key("llama.embedding_length", kHidden);
  header.key("llama.attention.head_count", 4).key("llama.feed_forward_length", 128);
  header.key("llama.context_length", 4096).key("llama.vocab_size", 1000);
  if (vocabulary != 0) {
    header.strings("tokenizer.ggml.tokens", vocabulary);
    header.strings("tokenizer.ggml.merges", vocabulary);
  }
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    for (std::uint64_t i = 0; i < kTensorsOfALayer; ++i) {
      header.matrix("blk." + std::to_string(layer) + ".part_" + std::to_string(i) + ".weight",
                    kHidden, kHidden);
    }
  }
  return header.padded();
}

// --- Rows ---------------------------------------------------------------------------------------

std::size_t peak_of_planning(const fs::path& path) {
  const std::size_t before = heap.used;
  heap.peak = before;
  const Model model = read_model(path);
  benchmark::DoNotOptimize(make_plan(model));
  return heap.peak - before;
}

/// @param items  the number of tensors if an item is a tensor, or 1 if it is a whole plan.
void add_plan(const std::string& name, const fs::path& path, std::size_t items) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    const auto header = static_cast<double>(fs::file_size(path));
    state.counters["peak_over_header"] = static_cast<double>(peak_of_planning(path)) / header;
    for (auto _ : state) {
      const Model model = read_model(path);
      benchmark::DoNotOptimize(make_plan(model));
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(items));
  });
}

void add_bare_sax(const std::string& name, std::size_t tensors) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    const std::string header = safetensors_header(tensors);
    bool parsed = true;
    for (auto _ : state) {
      Nothing nothing;
      parsed &= nlohmann::json::sax_parse(header.data(), header.data() + header.size(), &nothing);
    }
    if (!parsed) state.SkipWithError("the header is not JSON");
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(tensors));
  });
}

}  // namespace

// Out of line, because otherwise GCC warns about mismatched new and free, or malloc and delete.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return counted(std::malloc(bytes == 0 ? 1 : bytes));
}
[[gnu::noinline]] void operator delete(void* at) noexcept { discount(at); }
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete[](void* at) noexcept { operator delete(at); }
void operator delete(void* at, std::size_t /*bytes*/) noexcept { operator delete(at); }
void operator delete[](void* at, std::size_t /*bytes*/) noexcept { operator delete(at); }

int main(int argc, char** argv) {
  const Folder models;
  add_plan("gguf_1056/plan", models.write("plain.gguf", gguf(0)), 1);
  add_plan("gguf_1056_vocabulary/plan", models.write("full.gguf", gguf(151'936)), 1);
  add_bare_sax("safetensors_100k/bare_sax", 100'000);
  for (const std::size_t thousands : {25U, 50U, 100U, 200U}) {
    const std::size_t tensors = thousands * 1000;
    add_plan("safetensors_" + std::to_string(thousands) + "k/plan",
             write_safetensors(models, tensors), tensors);
  }

  using namespace compare;
  const std::vector<Claim> claims{
      figure_at_most("gguf_1056/plan", 5e6),
      figure_at_most("gguf_1056_vocabulary/plan", 5e6),
      at_most("safetensors_100k/plan", "safetensors_100k/bare_sax", 2),
      // Planning is linear: with eight times as many tensors, a tensor does not cost much more.
      at_most("safetensors_200k/plan", "safetensors_25k/plan", 1.25),
      shown("safetensors_50k/plan", "safetensors_25k/plan"),
      shown("safetensors_100k/plan", "safetensors_50k/plan"),
      figure_at_most("gguf_1056_vocabulary/plan", 4, "peak_over_header"),
      // Without a vocabulary a GGUF header has 60 bytes per tensor; a region alone takes more.
      {"gguf_1056/plan", "", Bound::none, 0, "peak_over_header"},
      figure_at_most("safetensors_100k/plan", 4, "peak_over_header"),
      figure_at_most("safetensors_200k/plan", 4, "peak_over_header"),
  };
  return run(argc, argv, claims);
}
