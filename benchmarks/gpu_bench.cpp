// SPDX-License-Identifier: Apache-2.0
// Measures what memory costs on a GPU: fixed decode buffers and growing histories, compared with
// the driver's own allocators. Without a GPU it prints the reason and measures nothing.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "device/cuda_driver.hpp"
#include "gpu.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/tapedeck.hpp"
#include "trace.hpp"

extern "C" const unsigned char gpu_kernels[];

namespace {

using namespace tapedeck;
using namespace gpu_rows;

using Clock = std::chrono::steady_clock;
using Element = std::uint16_t;  // bf16

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// --- The model of trace.hpp, in bf16 ------------------------------------------------------------

constexpr std::size_t kHeadDim = 128;
constexpr std::uint64_t kRowBytes = trace::kKv * sizeof(Element);  // of K or V of a token

TapePlan decode_plan() {
  ModelShape shape;
  shape.hidden = trace::kHidden;
  shape.vocabulary = trace::kVocab;
  shape.layers.assign(trace::kLayers, {.attention = Attention::full,
                                       .heads = trace::kHidden / kHeadDim,
                                       .kv_heads = trace::kKv / kHeadDim,
                                       .key_dim = kHeadDim,
                                       .value_dim = kHeadDim,
                                       .ffn = trace::kFfn});
  return plan_decode_buffers(shape, {.batch = 1, .element = DType::bf16});
}

/// A plan whose only history is K and V of `layers`.
Plan history_plan(std::size_t layers, std::uint64_t row_bytes, std::uint64_t tokens) {
  Plan plan;
  plan.context_per_talk = tokens;
  for (std::size_t i = 0; i < 2 * layers; ++i) {
    plan.history.append({.name = "layers." + std::to_string(i / 2) + (i % 2 == 0 ? ".k" : ".v"),
                         .role = RegionRole::kv,
                         .bytes = tokens * row_bytes,
                         .alignment = 4096,
                         .dtype = DType::bf16,
                         .growth = {.bytes_per_token = row_bytes, .capacity = tokens}});
  }
  return plan;
}

// --- The driver's own allocators -----------------------------------------------------------------

/// An entry point that the library itself does not call.
template <class... Parameters>
internal::EntryPoint<Parameters...> entry_point(const char* name) {
  return {internal::cuda_driver().handle, name};
}

/// The driver's pool behind cuMemAllocAsync, set up for speed: it keeps freed memory.
class AsyncPool {
 public:
  explicit AsyncPool(const Gpu& gpu) {
    internal::call_cuda(entry_point<CUmemoryPool*, CUdevice>("cuDeviceGetDefaultMemPool"), &pool_,
                        gpu.current.handle());
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    internal::call_cuda(
        entry_point<CUmemoryPool, CUmemPool_attribute, void*>("cuMemPoolSetAttribute"), pool_,
        CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep);
  }

  /// Returns free memory to the device.
  void trim() const { internal::call_cuda(trim_to_, pool_, std::size_t{0}); }

 private:
  internal::EntryPoint<CUmemoryPool, std::size_t> trim_to_ =
      entry_point<CUmemoryPool, std::size_t>("cuMemPoolTrimTo");
  CUmemoryPool pool_ = nullptr;
};

/// Buffers of the given sizes, each with its own cuMemAllocAsync and cuMemFreeAsync.
class AsyncBuffers {
 public:
  AsyncBuffers(StreamHandle stream, std::vector<std::size_t> bytes)
      : stream_(stream), bytes_(std::move(bytes)), at_(bytes_.size()) {}

  void allocate() {
    for (std::size_t i = 0; i < at_.size(); ++i) {
      internal::call_cuda(allocate_, &at_[i], bytes_[i], stream_);
    }
  }
  void free() {
    for (const CUdeviceptr at : at_) internal::call_cuda(free_, at, stream_);
  }

  [[nodiscard]] CUdeviceptr at(std::size_t i) const { return at_[i]; }

 private:
  internal::EntryPoint<CUdeviceptr*, std::size_t, CUstream> allocate_ =
      entry_point<CUdeviceptr*, std::size_t, CUstream>("cuMemAllocAsync");
  internal::EntryPoint<CUdeviceptr, CUstream> free_ =
      entry_point<CUdeviceptr, CUstream>("cuMemFreeAsync");
  StreamHandle stream_;
  std::vector<std::size_t> bytes_;
  std::vector<CUdeviceptr> at_;
};

std::vector<std::size_t> sizes_of(const TapePlan& plan) {
  std::vector<std::size_t> sizes;
  sizes.reserve(plan.regions().size());
  for (const Region& region : plan.regions()) sizes.push_back(region.bytes);
  return sizes;
}

// --- Creating all buffers of a decode step ------------------------------------------------------

void create_one_range(benchmark::State& state, Gpu& gpu) {
  const TapePlan plan = decode_plan();
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    DeviceTape tape = DeviceTape::start(gpu.device, plan.bytes());
    static_cast<void>(tape.take(plan.bytes()));
    tape.raise_floor();
    DecodeBuffers<Element> buffers(tape.data(), plan);
    benchmark::DoNotOptimize(buffers);
    state.SetIterationTime(seconds_since(start));
  }
  state.SetItemsProcessed(state.iterations());
}

void create_by_mem_alloc(benchmark::State& state, Gpu& gpu) {
  const std::vector<std::size_t> sizes = sizes_of(decode_plan());
  std::vector<std::byte*> buffers(sizes.size());
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    for (std::size_t i = 0; i < sizes.size(); ++i) buffers[i] = gpu.device.allocate(sizes[i]);
    state.SetIterationTime(seconds_since(start));
    for (std::byte* const buffer : buffers) gpu.device.deallocate(buffer);
  }
  state.SetItemsProcessed(state.iterations());
}

// The pool is empty, as when an engine starts, or holds all of the memory, as when it starts again.
void create_by_mem_alloc_async(benchmark::State& state, Gpu& gpu, bool empty) {
  const AsyncPool pool(gpu);
  AsyncBuffers buffers(gpu.stream.handle(), sizes_of(decode_plan()));
  const auto give_back = [&] {
    buffers.free();
    gpu.stream.synchronize();
    if (empty) pool.trim();
  };
  buffers.allocate();
  give_back();
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    buffers.allocate();
    state.SetIterationTime(seconds_since(start));
    give_back();
  }
  state.SetItemsProcessed(state.iterations());
}

// --- Taking them for every token ----------------------------------------------------------------

void take_from_tape(benchmark::State& state, Gpu& gpu) {
  const std::vector<std::size_t> sizes = sizes_of(decode_plan());
  DeviceTape tape = DeviceTape::start(gpu.device, decode_plan().bytes() + kDeviceLine);
  for (auto _ : state) {
    for (const std::size_t bytes : sizes) trace::sink(tape.take(bytes));
    tape.clear();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(sizes.size()));
}

// The stream's later work for these calls is waited for, but not measured.
void take_by_mem_alloc_async(benchmark::State& state, Gpu& gpu) {
  const AsyncPool pool(gpu);
  const std::vector<std::size_t> sizes = sizes_of(decode_plan());
  AsyncBuffers buffers(gpu.stream.handle(), sizes);
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    buffers.allocate();
    buffers.free();
    state.SetIterationTime(seconds_since(start));
    gpu.stream.synchronize();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(sizes.size()));
}

// --- A decode step ------------------------------------------------------------------------------

/// The buffers that a step writes, in its order. The first is its input; the last two come after
/// all layers.
constexpr std::array kStepBuffers = {
    "decode.embed_out", "decode.norm_out",   "decode.qkv_out",        "decode.q_rotated",
    "decode.attn_out",  "decode.o_proj_out", "decode.post_norm_out",  "decode.gate_up_out",
    "decode.mlp_act",   "decode.down_out",   "decode.final_norm_out", "decode.logits"};
constexpr std::size_t kQkv = 2;
constexpr std::size_t kDown = 9;
using StepBuffers = std::array<DeviceSpan<Element>, kStepBuffers.size()>;

/// K and V of a layer.
struct Cache {
  Element* keys;
  Element* values;
};

class DecodeStep {
 public:
  explicit DecodeStep(Gpu& gpu) : gpu_(gpu), layout_(gpu.device, plan()) {
    for (std::size_t i = 0; i < planned_.size(); ++i) {
      planned_[i] = buffer<Element>(kStepBuffers[i]);
    }
    const auto regions = layout_.plan().history.regions();
    for (std::size_t layer = 0; layer < caches_.size(); ++layer) {
      caches_[layer] = {layout_.history_at<Element>(regions[2 * layer]).data(),
                        layout_.history_at<Element>(regions[2 * layer + 1]).data()};
    }
    // Position 0: every token is written to the first row.
    gpu.device.fill(reinterpret_cast<std::byte*>(positions_.data()), std::byte{0},
                    positions_.bytes(), gpu.stream.handle());
    // Launch each kernel once now, because the first launch loads it.
    put();
    gpu.stream.synchronize();
  }

  /// Puts the kernels of a step on the stream, using the buffers of the plan.
  void put() const { put_on(planned_); }

  /// Puts the kernels of a step on the stream, using buffers that are allocated before the step and
  /// freed after it.
  void put_allocating() {
    allocated_.allocate();
    StepBuffers buffers;
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      buffers[i] = {reinterpret_cast<Element*>(allocated_.at(i)), planned_[i].size()};
    }
    put_on(buffers);
    allocated_.free();
  }

 private:
  static Plan plan() {
    Plan plan = history_plan(trace::kLayers, kRowBytes, 256);
    plan.scratch = decode_plan();
    return plan;
  }

  template <class T>
  [[nodiscard]] DeviceSpan<T> buffer(const char* name) {
    return layout_.scratch_at<T>(*layout_.plan().scratch.find(name));
  }
  [[nodiscard]] std::vector<std::size_t> step_sizes() const {
    std::vector<std::size_t> bytes;
    bytes.reserve(kStepBuffers.size());
    for (const char* name : kStepBuffers) {
      bytes.push_back(layout_.plan().scratch.find(name)->bytes);
    }
    return bytes;
  }

  void put_on(const StepBuffers& buffers) const {
    for (std::size_t layer = 0; layer < caches_.size(); ++layer) {
      transform(buffers[layer == 0 ? 0 : kDown], buffers[1]);
      for (std::size_t i = 2; i <= kDown; ++i) transform(buffers[i - 1], buffers[i]);
      append_row_.launch(Grid::over(trace::kKv), gpu_.stream.handle(), buffers[kQkv].data(),
                         positions_.data(), caches_[layer].keys, caches_[layer].values,
                         static_cast<unsigned>(trace::kKv));
    }
    for (std::size_t i = kDown + 1; i < buffers.size(); ++i) transform(buffers[i - 1], buffers[i]);
  }

  void transform(DeviceSpan<Element> in, DeviceSpan<Element> out) const {
    transform_.launch(Grid::over(out.size()), gpu_.stream.handle(), in.data(),
                      static_cast<unsigned>(in.size()), out.data(),
                      static_cast<unsigned>(out.size()));
  }

  using Transform = Kernel<const Element*, unsigned, Element*, unsigned>;
  using AppendRow = Kernel<const Element*, const std::int32_t*, Element*, Element*, unsigned>;

  Gpu& gpu_;
  DeviceLayout layout_;
  StepBuffers planned_{};
  AsyncBuffers allocated_{gpu_.stream.handle(), step_sizes()};
  std::array<Cache, trace::kLayers> caches_{};
  DeviceSpan<std::int32_t> positions_ = buffer<std::int32_t>("decode.batched_positions");
  Transform transform_ = gpu_.module.find<Transform>("transform");
  AppendRow append_row_ = gpu_.module.find<AppendRow>("append_kv");
};

/// An item is one step, timed until the host knows that it has run.
template <class Put>
void measure_steps(benchmark::State& state, const Gpu& gpu, const Put& put) {
  for (auto _ : state) {
    put();
    gpu.stream.synchronize();
  }
  state.SetItemsProcessed(state.iterations());
}

void replay_on_buffers(benchmark::State& state, Gpu& gpu) {
  const DecodeStep step(gpu);
  auto* const stream = gpu.stream.handle();
  const CudaGraph graph = CudaGraph::capture(stream, [&] { step.put(); });
  measure_steps(state, gpu, [&] { graph.launch(stream); });
}

void launch_on_buffers(benchmark::State& state, Gpu& gpu) {
  const DecodeStep step(gpu);
  measure_steps(state, gpu, [&] { step.put(); });
}

void launch_with_allocations(benchmark::State& state, Gpu& gpu) {
  const AsyncPool pool(gpu);
  DecodeStep step(gpu);
  measure_steps(state, gpu, [&] { step.put_allocating(); });
}

// The allocations are captured too, and become nodes of the graph.
void replay_with_allocations(benchmark::State& state, Gpu& gpu) {
  DecodeStep step(gpu);
  auto* const stream = gpu.stream.handle();
  const CudaGraph graph = CudaGraph::capture(stream, [&] { step.put_allocating(); });
  measure_steps(state, gpu, [&] { graph.launch(stream); });
}

// --- Growing during a talk ----------------------------------------------------------------------

// Each talk begins without a page, and prepares every token separately.
void prepare_long_talk(benchmark::State& state, Gpu& gpu) {
  constexpr std::uint64_t kTokens = 32'768;
  DeviceLayout layout(gpu.device, history_plan(trace::kLayers, kRowBytes, kTokens),
                      {.commit = Commit::with_talks});
  double worst = 0;
  for (auto _ : state) {
    layout.clear_talk();
    static_cast<void>(layout.decommit());
    double all = 0;
    for (std::uint64_t token = 0; token < kTokens; ++token) {
      const Clock::time_point start = Clock::now();
      layout.talk(0).prepare(1);
      const double seconds = seconds_since(start);
      static_cast<void>(layout.talk(0).advance());
      all += seconds;
      worst = std::max(worst, seconds);
    }
    state.SetIterationTime(all);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kTokens));
  state.counters["worst_ms"] = worst * 1e3;
}

// --- Reading what has grown ---------------------------------------------------------------------

constexpr std::uint64_t kReadRow = 2048;  // bytes of K or V of a token
constexpr std::uint64_t kReadTokens = 131'072;
constexpr std::size_t kReadBytes = kReadRow * kReadTokens;  // 256 MiB, larger than any cache
constexpr Grid kReadGrid{.blocks = 2048, .threads = 256};

// An item reads all of K and V once.
void read_all(benchmark::State& state, Gpu& gpu, std::byte* keys, std::byte* values) {
  constexpr int kTimes = 8;
  auto* const stream = gpu.stream.handle();
  using ReadRows = Kernel<const std::byte*, const std::byte*, unsigned long long, unsigned*>;
  const auto read_rows = gpu.module.find<ReadRows>("read_rows");
  std::vector<unsigned> sums(std::size_t{kReadGrid.blocks} * kReadGrid.threads);
  DeviceTape scratch = DeviceTape::start(gpu.device, sums.size() * sizeof(unsigned));
  const DeviceSpan<unsigned> sums_there = scratch.take<unsigned>(sums.size());
  for (std::byte* const rows : {keys, values}) {
    gpu.device.fill(rows, std::byte{1}, kReadBytes, stream);
  }
  Stopwatch watch(stream);
  const auto read = [&] {
    read_rows.launch(kReadGrid, stream, keys, values, kReadBytes / 16, sums_there.data());
  };
  read();
  double all = 0;
  for (auto _ : state) {
    watch.start();
    for (int i = 0; i < kTimes; ++i) read();
    const double seconds = watch.stop();
    state.SetIterationTime(seconds);
    all += seconds;
  }
  const auto items = state.iterations() * kTimes;
  state.SetItemsProcessed(items);
  state.counters["GB/s"] = 2.0 * double{kReadBytes} * static_cast<double>(items) / 1e9 / all;

  // The sums wrap around, as on the device.
  gpu.device.copy(reinterpret_cast<std::byte*>(sums.data()),
                  reinterpret_cast<const std::byte*>(sums_there.data()), sums_there.bytes(),
                  stream);
  gpu.stream.synchronize();
  constexpr auto kExpected = static_cast<unsigned>(2 * kReadBytes / sizeof(unsigned)) * 0x01010101U;
  if (std::accumulate(sums.begin(), sums.end(), 0U) != kExpected) {
    state.SkipWithError("the kernel read wrong data");
  }
}

// Grows the history as a talk does, a few rows at a time, so pages of K and of V alternate.
void read_grown(benchmark::State& state, Gpu& gpu) {
  DeviceLayout layout(gpu.device, history_plan(1, kReadRow, kReadTokens),
                      {.commit = Commit::with_talks});
  while (layout.talk(0).tokens() < kReadTokens) {
    layout.talk(0).prepare(256);
    static_cast<void>(layout.talk(0).advance(256));
  }
  const auto regions = layout.plan().history.regions();
  read_all(state, gpu, layout.history_at(regions[0]).data(), layout.history_at(regions[1]).data());
}

void read_by_mem_alloc(benchmark::State& state, Gpu& gpu) {
  DeviceTape keys = DeviceTape::start(gpu.device, kReadBytes);
  DeviceTape values = DeviceTape::start(gpu.device, kReadBytes);
  read_all(state, gpu, keys.data(), values.data());
}

// --- All of them --------------------------------------------------------------------------------

void add_all(Gpu& gpu) {
  add("create/one_range", gpu, create_one_range)->UseManualTime();
  add("create/mem_alloc_each", gpu, create_by_mem_alloc)->UseManualTime();
  add("create/mem_alloc_async_each", gpu, [](benchmark::State& state, Gpu& it) {
    create_by_mem_alloc_async(state, it, true);
  })->UseManualTime();
  add("create/mem_alloc_async_again", gpu, [](benchmark::State& state, Gpu& it) {
    create_by_mem_alloc_async(state, it, false);
  })->UseManualTime();

  add("take/device_tape", gpu, take_from_tape)->UseRealTime();
  add("take/mem_alloc_async", gpu, take_by_mem_alloc_async)->UseManualTime();

  add("step/replay", gpu, replay_on_buffers)->UseRealTime();
  add("step/launches", gpu, launch_on_buffers)->UseRealTime();
  add("step/launches_async_alloc", gpu, launch_with_allocations)->UseRealTime();
  add("step/replay_async_alloc", gpu, replay_with_allocations)->UseRealTime();

  add("prepare/long_talk", gpu, prepare_long_talk)->UseManualTime();

  add("read/grown", gpu, read_grown)->UseManualTime();
  add("read/mem_alloc", gpu, read_by_mem_alloc)->UseManualTime();
}

}  // namespace

int main(int argc, char** argv) {
  const CudaSupport support = CudaDevice::support();
  if (support.devices == 0) {
    std::printf("not measured: %s\n", support.why.c_str());
    return 0;
  }
  Gpu gpu(gpu_kernels);
  const std::string note = description(gpu.device.info());
  add_all(gpu);

  using namespace compare;
  constexpr double kHundredthOfAToken = 10e6 / 100;  // of 10 ms, in nanoseconds
  const std::vector<Claim> claims{
      shown("create/one_range", "create/mem_alloc_each"),
      shown("create/one_range", "create/mem_alloc_async_each"),
      shown("create/one_range", "create/mem_alloc_async_again"),
      times_as_fast("take/device_tape", "take/mem_alloc_async", 50),
      no_slower("step/replay", "step/launches_async_alloc"),
      no_slower("step/replay", "step/replay_async_alloc"),
      shown("step/replay", "step/launches"),
      shown("step/launches", "step/launches_async_alloc"),
      figure_at_most("prepare/long_talk", kHundredthOfAToken),
      at_most("read/grown", "read/mem_alloc", 1.02),
  };
  return run(argc, argv, claims, {&note, 1});
}
