// SPDX-License-Identifier: Apache-2.0
// Measures layer streaming on a GPU with the reference decoder: how fast layers arrive, and how
// much of that time is hidden by computing. Without a GPU it prints the reason and measures
// nothing.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/made_model.hpp"
#include "compare.hpp"
#include "file_state.hpp"
#include "llama/cuda_decoder.hpp"
#include "llama/device_model.hpp"
#include "llama/llama_model.hpp"
#include "model_files.hpp"
#include "tapedeck/device/bus_bandwidth.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/tapedeck.hpp"
#include "tapedeck/weights.hpp"

namespace {

using namespace tapedeck;
using namespace tapedeck::llama;
namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;

// --- The models ---------------------------------------------------------------------------------

// 4.5 billion parameters: 9.0 GB in f16, 0.44 GB per layer.
constexpr std::uint32_t kDim = 4096;
constexpr std::uint32_t kFfn = 14'336;
constexpr std::uint32_t kLayers = 20;
constexpr std::uint32_t kHeads = 32;
constexpr std::uint32_t kKvHeads = 8;
constexpr std::uint32_t kVocabulary = 32'000;
constexpr std::uint32_t kContext = 256;

std::string header_of_model(std::uint64_t& data_bytes) {
  constexpr std::uint32_t kTensorsOfALayer = 9;
  constexpr std::uint32_t kKvDim = kDim / kHeads * kKvHeads;
  model_files::GgufHeader header;
  header.number(std::uint32_t{3}).number(std::uint64_t{kLayers} * kTensorsOfALayer + 2);
  header.number(std::uint64_t{9});
  header.text("general.architecture").number(std::uint32_t{8}).text("llama");
  header.key("llama.block_count", kLayers).key("llama.embedding_length", kDim);
  header.key("llama.attention.head_count", kHeads).key("llama.attention.head_count_kv", kKvHeads);
  header.key("llama.feed_forward_length", kFfn).key("llama.context_length", kContext);
  header.key("llama.vocab_size", kVocabulary);
  header.text("llama.attention.layer_norm_rms_epsilon").number(std::uint32_t{6}).number(1e-5F);
  header.half_matrix("token_embd.weight", kVocabulary, kDim);
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    header.vector(prefix + "attn_norm.weight", kDim).vector(prefix + "ffn_norm.weight", kDim);
    header.half_matrix(prefix + "attn_q.weight", kDim, kDim);
    header.half_matrix(prefix + "attn_k.weight", kKvDim, kDim);
    header.half_matrix(prefix + "attn_v.weight", kKvDim, kDim);
    header.half_matrix(prefix + "attn_output.weight", kDim, kDim);
    header.half_matrix(prefix + "ffn_gate.weight", kFfn, kDim);
    header.half_matrix(prefix + "ffn_up.weight", kFfn, kDim);
    header.half_matrix(prefix + "ffn_down.weight", kDim, kFfn);
  }
  header.vector("output_norm.weight", kDim);
  data_bytes = header.data_bytes();
  return header.padded();
}

// Writes halves of 0.008 to 0.016 with random signs. Read as f32, the norms are then almost zero.
// All numbers are finite.
fs::path write_model(const model_files::Folder& folder) {
  constexpr std::uint16_t kSignAndMantissa = 0x83ff;
  constexpr std::uint16_t kExponent = 0x2000;
  std::uint64_t bytes = 0;
  const fs::path path = folder.write("model.gguf", header_of_model(bytes));
  std::ofstream out(path, std::ios::binary | std::ios::app);
  std::mt19937 random(1);
  std::vector<std::uint16_t> part(std::size_t{1} << 20);
  std::generate(part.begin(), part.end(), [&] {
    return static_cast<std::uint16_t>((random() & kSignAndMantissa) | kExponent);
  });
  for (std::uint64_t left = bytes; left != 0;) {
    const std::uint64_t now = std::min<std::uint64_t>(left, part.size() * sizeof part[0]);
    out.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(now));
    left -= now;
  }
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
  return path;
}

// 15 million parameters in f32. The kernels are so short that the cost of launching them is
// visible.
fs::path make_small_model(const fs::path& folder) {
  constexpr Shape kSmall{.dim = 288,
                         .ffn = 768,
                         .layers = 6,
                         .heads = 6,
                         .kv_heads = 6,
                         .vocab = 32'000,
                         .seq_len = 256};
  const std::atomic<bool> never{false};
  fs::path path = folder / "small.bin";
  static_cast<void>(cli::make_model(path, kSmall, 1, never));
  return path;
}

/// A model that was read into memory.
class ReadModel {
 public:
  explicit ReadModel(const fs::path& path) : model_(path, {.way = Way::read}) {
    if (!model_.weights().warm()) throw std::runtime_error("not enough memory");
  }

  [[nodiscard]] const LlamaModel& operator*() const noexcept { return model_; }

  /// All pages that hold tensors. They are writable, because the model was read into memory.
  [[nodiscard]] std::span<std::byte> pages() const {
    constexpr std::uintptr_t kPage = 4096;
    std::uintptr_t begin = std::numeric_limits<std::uintptr_t>::max();
    std::uintptr_t end = 0;
    const Weights& weights = model_.weights();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto at = reinterpret_cast<std::uintptr_t>(weights[i].bytes.data());
      begin = std::min(begin, at / kPage * kPage);
      end = std::max(end, (at + weights[i].bytes.size() + kPage - 1) / kPage * kPage);
    }
    return {reinterpret_cast<std::byte*>(begin), end - begin};
  }

 private:
  LlamaModel model_;
};

class Pinned {
 public:
  Pinned(Device& device, std::span<std::byte> memory) : device_(device), memory_(memory) {
    device.pin(memory);
  }
  ~Pinned() { device_.unpin(memory_.data()); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  Device& device_;
  std::span<std::byte> memory_;
};

// --- Models on the device -----------------------------------------------------------------------

/// Weights on the device, all of them or through slots.
struct Placed {
  Placed(const LlamaModel& model, Device& device, const StreamingOptions& options,
         StreamSource source = StreamSource::pinned)
      : plan(plan_streaming(model_to_plan(model), options)),
        copying(device),
        place(DeviceTape::start(device, plan.device.bytes())),
        weights(model, device, plan, place.take<std::byte>(plan.device.bytes()),
                {.source = source}) {}

  StreamingPlan plan;
  DeviceStream copying;  ///< For rows that do not compute.
  DeviceTape place;
  DeviceModel weights;
};

/// Options for a layout with only a talk and its buffers on the device.
LayoutOptions on_device(Device& gpu, const LlamaModel& model) {
  LayoutOptions options;
  options.gpus.push_back({.device = &gpu, .plan = model.plan()});
  return options;
}

constexpr StreamingOptions kWhole{.device_bytes = std::numeric_limits<std::uint64_t>::max()};

/// Decodes first tokens, which load kernels, capture the graph, and fill the slots.
void warm_up(TalkDecoder& decoder) {
  decoder.prepare(1);
  for (int i = 0; i < 2; ++i) {
    static_cast<void>(decoder.forward(1));
    decoder.rewind(1);
  }
}

/// A small model that stays on the device.
struct SmallModel {
  SmallModel(CudaDevice& gpu, const fs::path& path)
      : model(path), layout(Plan{}, on_device(gpu, *model)), whole(*model, gpu, kWhole) {}

  ReadModel model;
  Layout layout;
  Placed whole;
  std::unique_ptr<TalkDecoder> replayed = make_cuda_decoder(*model, whole.weights, layout);
  std::unique_ptr<TalkDecoder> launched =
      make_cuda_decoder(*model, whole.weights, layout, 0, {.graph = false});
};

/// A large model, whole and with all methods of streaming. They share one cache, so only one of the
/// decoders may run at a time.
struct LargeModel {
  LargeModel(CudaDevice& gpu, const fs::path& path)
      : model(path),
        pinned(gpu, model.pages()),
        layout(Plan{}, on_device(gpu, *model)),
        whole(*model, gpu, kWhole),
        two_slots(*model, gpu, {.slots = 2}),
        one_slot(*model, gpu, {.slots = 1}),
        ring(*model, gpu, {.slots = 2}, StreamSource::staged) {}

  ReadModel model;
  Pinned pinned;
  Layout layout;
  Placed whole;
  Placed two_slots;
  Placed one_slot;
  Placed ring;
  std::unique_ptr<TalkDecoder> replayed = make_cuda_decoder(*model, whole.weights, layout);
  std::unique_ptr<TalkDecoder> launched =
      make_cuda_decoder(*model, whole.weights, layout, 0, {.graph = false});
  std::unique_ptr<TalkDecoder> streamed = make_cuda_decoder(*model, two_slots.weights, layout);
  std::unique_ptr<TalkDecoder> one_at_a_time = make_cuda_decoder(*model, one_slot.weights, layout);
  std::unique_ptr<TalkDecoder> through_ring = make_cuda_decoder(*model, ring.weights, layout);
};

// --- What is measured ---------------------------------------------------------------------------

// An item is one token, timed until its logits are on the host.
void decode(benchmark::State& state, TalkDecoder& decoder) {
  for (auto _ : state) {
    decoder.prepare(1);
    benchmark::DoNotOptimize(decoder.forward(1)[0]);
    decoder.rewind(1);
  }
  state.SetItemsProcessed(state.iterations());
}

// An item is all the bytes that one token copies; `copy_all` waits for the copies.
template <class CopyAll>
void copy(benchmark::State& state, std::uint64_t bytes, double bus, const CopyAll& copy_all) {
  double all = 0;
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    copy_all();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    state.SetIterationTime(seconds);
    all += seconds;
  }
  state.SetItemsProcessed(state.iterations());
  const double rate = static_cast<double>(bytes) * static_cast<double>(state.iterations()) / all;
  state.counters["GB/s"] = rate / 1e9;
  state.counters["of_bus"] = rate / bus;
}

// Nothing computes, so a slot is free as soon as its layer has arrived.
void copy_by_streamer(benchmark::State& state, Placed& placed, double bus) {
  auto* const stream = placed.copying.handle();
  DeviceModel& weights = placed.weights;
  copy(state, placed.plan.token_bytes, bus, [&] {
    for (std::size_t layer = 0; layer < weights.layers(); ++layer) {
      static_cast<void>(weights.acquire(layer, stream));
      weights.release(layer, stream);
    }
    placed.copying.synchronize();
  });
}

// Copies with the driver alone, from memory that is not pinned.
void copy_unpinned(benchmark::State& state, CudaDevice& gpu, const Placed& placed, double bus) {
  const std::uint64_t layer_bytes = placed.plan.slot_bytes();
  const std::size_t layers = placed.weights.layers();
  const std::vector<std::byte> from(layer_bytes, std::byte{1});
  DeviceTape place = DeviceTape::start(gpu, layer_bytes);
  const DeviceStream stream(gpu);
  copy(state, layers * layer_bytes, bus, [&] {
    for (std::size_t layer = 0; layer < layers; ++layer) {
      gpu.copy(place.data(), from.data(), layer_bytes, stream.handle());
    }
    stream.synchronize();
  });
}

// If the device refuses a call, only this row is skipped.
template <class Row>
void add(const char* name, Row row, bool manual_time) {
  auto* const added = benchmark::RegisterBenchmark(name, [row](benchmark::State& state) {
    try {
      row(state);
    } catch (const Error& error) {
      state.SkipWithError(error.what());
    }
  });
  if (manual_time) {
    added->UseManualTime();
  } else {
    added->UseRealTime();
  }
}

void add_decoding(const char* name, TalkDecoder& decoder) {
  warm_up(decoder);
  add(
      name, [&decoder](benchmark::State& state) { decode(state, decoder); }, false);
}

void add_all(CudaDevice& gpu, SmallModel& small, LargeModel& large, double bus) {
  add_decoding("small/replayed", *small.replayed);
  add_decoding("small/launched", *small.launched);
  add_decoding("whole/replayed", *large.replayed);
  add_decoding("whole/launched", *large.launched);
  add_decoding("streamed/two_slots", *large.streamed);
  add_decoding("streamed/one_slot", *large.one_at_a_time);
  add_decoding("streamed/staged", *large.through_ring);
  add(
      "copy/streamer",
      [&, bus](benchmark::State& state) { copy_by_streamer(state, large.two_slots, bus); }, true);
  add(
      "copy/unpinned",
      [&, bus](benchmark::State& state) { copy_unpinned(state, gpu, large.two_slots, bus); }, true);
}

std::string description(const CudaDevice& gpu, double bus) {
  return gpu.label() + ", driver for CUDA " + gpu.info().driver +
         "; its bus: " + std::to_string(bus / 1e9) + " GB/s";
}

}  // namespace

int main(int argc, char** argv) {
  const CudaSupport support = CudaDevice::support();
  if (support.devices == 0) {
    std::printf("not measured: %s\n", support.why.c_str());
    return 0;
  }
  CudaDevice gpu;
  const double bus = bus_bandwidth(gpu);
  const model_files::Folder folder(file_state::disk_folder());
  SmallModel small(gpu, make_small_model(folder.path()));
  LargeModel large(gpu, write_model(folder));
  add_all(gpu, small, large, bus);

  using namespace compare;
  const std::vector<Claim> claims{
      {"copy/streamer", "", Bound::at_least, 0.95, "of_bus"},
      shown("copy/streamer", "copy/unpinned"),
      // A step takes as long as the longer of copy and computation, which here is the copy.
      at_most("streamed/two_slots", "copy/streamer", 1.10),
      shown("streamed/two_slots", "whole/launched"),
      shown("streamed/two_slots", "streamed/one_slot"),
      shown("streamed/two_slots", "streamed/staged"),
      shown("whole/replayed", "whole/launched"),
      shown("small/replayed", "small/launched"),
  };
  const std::string note = description(gpu, bus);
  return run(argc, argv, claims, {&note, 1});
}
