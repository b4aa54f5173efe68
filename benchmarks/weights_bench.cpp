// SPDX-License-Identifier: Apache-2.0
// Measures how fast each `Way` brings weights into memory, compared with the best handwritten code
// that uses the same system calls.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "by_hand.hpp"
#include "compare.hpp"
#include "file_state.hpp"
#include "model_files.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/weights.hpp"

namespace {

using namespace tapedeck;
namespace fs = std::filesystem;
using by_hand::Arena;
using by_hand::Pages;
using file_state::bring_to;
using file_state::State;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kModel = 2_GiB;

// --- The model ---------------------------------------------------------------------------------

fs::path write_model(const model_files::Folder& folder) {
  constexpr std::size_t kTensors = 64;
  std::string header = "{";
  for (std::size_t i = 0; i < kTensors; ++i) {
    const std::size_t bytes = kModel / kTensors;
    header += (i == 0 ? "\"layers." : ",\"layers.") + std::to_string(i) +
              R"(.w":{"dtype":"F32","shape":[)" + std::to_string(bytes / sizeof(float)) +
              R"(],"data_offsets":[)" + std::to_string(i * bytes) + "," +
              std::to_string((i + 1) * bytes) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();
  const fs::path path = folder.write(
      "model.safetensors", std::string(reinterpret_cast<const char*>(&length), 8) + header);
  std::ofstream out(path, std::ios::binary | std::ios::app);
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> part(1_MiB);
  for (std::uint64_t& word : part) word = random();
  for (std::size_t at = 0; at < kModel; at += part.size() * 8) {
    part[at / 8_MiB] = at;  // makes all parts different
    out.write(reinterpret_cast<const char*>(part.data()),
              static_cast<std::streamsize>(part.size() * 8));
  }
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  return path;
}

// --- Rows ---------------------------------------------------------------------------------------

void prime() { file_state::prime(2 * kModel); }

/// Adds a row that times one run of `work`. Neither `before` nor the destruction of the result of
/// `work` is timed.
template <class Before, class Work>
void add(const std::string& name, Before before, Work work) {
  benchmark::RegisterBenchmark(
      name.c_str(),
      [=](benchmark::State& state) {
        for (auto _ : state) {
          before();
          const Clock::time_point start = Clock::now();
          const auto result = work();
          const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
          benchmark::DoNotOptimize(&result);
          state.SetIterationTime(seconds);
          state.counters["GB/s"] = static_cast<double>(kModel) / 1e9 / seconds;
        }
        state.SetItemsProcessed(state.iterations());
      })
      ->Iterations(1)
      ->UseManualTime();
}

Weights loaded(const fs::path& path, Way way, unsigned threads = 0) {
  Weights weights = Weights::open(path, {.way = way});
  if (!weights.warm({.threads = threads})) throw std::runtime_error("not enough memory");
  return weights;
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
  const auto* const words = reinterpret_cast<const std::uint64_t*>(bytes.data());
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes.size() / sizeof(std::uint64_t); ++i) sum += words[i];
  return sum;
}

std::uint64_t sum_of(const Weights& weights) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) sum += sum_of(weights[i].bytes);
  return sum;
}

void add_ways(const std::string& state_name, State state, const fs::path& path) {
  const auto before = [=] {
    bring_to(state, path);
    prime();
  };
  for (const Way way : {Way::automatic, Way::map, Way::read, Way::direct}) {
    add(state_name + "/" + to_string(way), before, [=] { return loaded(path, way); });
  }
}

void add_anonymous() {
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1U, 16U);
  add("anonymous/warm", prime, [] {
    Block block = Block::reserve(kModel);
    block.commit(kModel);
    if (!block.warm(0, kModel)) throw std::runtime_error("not enough memory");
    return block;
  });
  add("anonymous/map_populate", prime, [] { return Arena(kModel, Pages::populated); });
  add("anonymous/by_hand", prime, [=] {
    Arena arena(kModel, Pages::huge);
    arena.populate(threads);
    return arena;
  });
}

void add_peers_of_files(const fs::path& path) {
  const auto cold = [=] {
    bring_to(State::cold, path);
    prime();
  };
  const auto hot = [=] {
    bring_to(State::hot, path);
    prime();
  };
  const std::size_t bytes = fs::file_size(path);
  add("cold/direct_by_hand", cold, [=] {
    Arena arena(bytes + 8_MiB, Pages::huge);
    by_hand::read_directly(path, arena.span());
    return arena;
  });
  const auto read_4k = [=] {
    Arena arena(bytes + 8_MiB, Pages::ordinary);
    by_hand::read_buffered(path, arena.span());
    return arena;
  };
  add("cold/read_4k_by_hand", cold, read_4k);
  add("hot/read_4k_by_hand", hot, read_4k);
  add("hot/map_by_hand", hot, [=] { return by_hand::map_populated(path); });
}

// All rows use one thread.
void add_whole_way(const fs::path& path) {
  const auto hot = [=] {
    bring_to(State::hot, path);
    prime();
  };
  add("whole/map_warm_sum", hot, [=] { return sum_of(loaded(path, Way::map, 1)); });
  add("whole/read_then_sum", hot, [=] {
    Arena arena(fs::file_size(path) + 8_MiB, Pages::ordinary);
    by_hand::read_buffered(path, arena.span());
    return sum_of(arena.span());
  });
  const auto resident = std::make_shared<std::unique_ptr<Weights>>();
  add(
      "whole/sum_of_warm_memory",
      [=] {
        // Kept for all rounds, like the memory of a host that has already loaded its model.
        if (!*resident) *resident = std::make_unique<Weights>(loaded(path, Way::read));
        bring_to(State::hot, path);
      },
      [=] { return sum_of(**resident); });
}

// --- Opening ------------------------------------------------------------------------------------

constexpr std::size_t kFiles = 100;
constexpr std::size_t kTensorsOfAFile = 1000;

std::vector<std::string> many_headers() {
  std::vector<std::string> headers;
  for (std::size_t file = 0; file < kFiles; ++file) {
    headers.push_back(model_files::safetensors_header(kTensorsOfAFile, file * kTensorsOfAFile));
  }
  return headers;
}

fs::path write_many(const model_files::Folder& folder) {
  const std::vector<std::string> headers = many_headers();
  nlohmann::json map;
  fs::path first;
  for (std::size_t file = 0; file < kFiles; ++file) {
    const std::string name = "part" + std::to_string(file) + ".safetensors";
    const std::uint64_t length = headers[file].size();
    const fs::path path = folder.write(
        "many/" + name, std::string(reinterpret_cast<const char*>(&length), 8) + headers[file]);
    const std::uint64_t data = kTensorsOfAFile * model_files::kHidden * model_files::kHidden * 2;
    fs::resize_file(path, 8 + length + data);  // a hole, which is never read
    const nlohmann::json header = nlohmann::json::parse(headers[file]);
    for (const auto& [tensor, ignored] : header.items()) {
      if (tensor != "__metadata__") map[tensor] = name;
    }
  }
  return folder.write("many/model.safetensors.index.json",
                      nlohmann::json{{"weight_map", map}}.dump());
}

void add_opening(const fs::path& index) {
  const auto count = static_cast<std::int64_t>(kFiles * kTensorsOfAFile);
  benchmark::RegisterBenchmark("open/100_files_100k_tensors", [=](benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(Weights::open(index, {.way = Way::map}));
    state.SetItemsProcessed(state.iterations() * count);
  })->UseRealTime();
  // The same headers and the same index, from memory.
  benchmark::RegisterBenchmark("open/bare_sax", [=](benchmark::State& state) {
    std::vector<std::string> texts = many_headers();
    std::ifstream in(index, std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    for (auto _ : state) {
      for (const std::string& text : texts) {
        model_files::Nothing nothing;
        if (!nlohmann::json::sax_parse(text, &nothing)) state.SkipWithError("a header is not JSON");
      }
    }
    state.SetItemsProcessed(state.iterations() * count);
  })->UseRealTime();
}

std::vector<compare::Claim> claims() {
  using namespace compare;
  std::vector<Claim> all = {
      times_as_fast("anonymous/warm", "anonymous/map_populate", 6),
      at_most("anonymous/warm", "anonymous/by_hand", 1 / 0.9),
      at_most("cold/direct", "cold/direct_by_hand", 1 / 0.95),
      times_as_fast("cold/direct", "cold/read_4k_by_hand", 1.6),
      no_slower("cold/direct", "cold/map"),
      at_most("hot/map", "hot/map_by_hand", 1.1),
      at_most("whole/map_warm_sum", "whole/sum_of_warm_memory", 1 / 0.85),
      times_as_fast("whole/map_warm_sum", "whole/read_then_sum", 2.5),
      at_most("open/100_files_100k_tensors", "open/bare_sax", 2),
      shown("hot/read", "hot/read_4k_by_hand"),
  };
  for (const std::string state : {"cold", "half_hot", "hot", "tmpfs"}) {
    for (const char* way : {"/map", "/read", "/direct"}) {
      all.push_back(no_slower(state + "/automatic", state + way));
    }
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const model_files::Folder disk(file_state::disk_folder());
  const fs::path model = write_model(disk);
  add_anonymous();
  add_ways("cold", State::cold, model);
  add_ways("half_hot", State::half_hot, model);
  add_ways("hot", State::hot, model);
  add_peers_of_files(model);
  add_whole_way(model);
  add_opening(write_many(disk));

  const fs::path memory = "/dev/shm";
  std::unique_ptr<model_files::Folder> tmpfs;
  if (fs::is_directory(memory)) {
    tmpfs = std::make_unique<model_files::Folder>(memory);
    const fs::path copy = tmpfs->write("model.safetensors", "");
    fs::copy_file(model, copy, fs::copy_options::overwrite_existing);
    add_ways("tmpfs", State::cold, copy);
  }

  const HugePageTrial& trial = huge_page_trial();
  const std::vector<std::string> notes = {
      "an item is a model of 2 GiB, and in open/ a tensor",
      std::string("huge pages: the trial chose ") +
          (trial.best == HugePages::never ? "ordinary pages" : "transparent huge pages")};
  return compare::run(argc, argv, claims(), notes);
}
