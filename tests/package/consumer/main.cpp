// SPDX-License-Identifier: Apache-2.0
// Exits with 0 if the library, installed and used by another project, works as its headers say.

#include <string>
#include <tapedeck/device/cuda_device.hpp>
#include <tapedeck/fit.hpp>
#include <tapedeck/llama_cpp.hpp>
#include <tapedeck/model.hpp>
#include <tapedeck/tapedeck.hpp>
#include <tapedeck/telemetry.hpp>
#include <tapedeck/weights.hpp>
#include <utility>

#ifdef WITH_SPILL
#include <tapedeck/memory/mimalloc_spill.hpp>
#endif

int main() {
  tapedeck::LayoutOptions options;
#ifdef WITH_SPILL
  options.scratch.spill = &tapedeck::mimalloc_spill();
#endif
  tapedeck::Layout layout({.weights = 1, .scratch = 1, .history = 1}, options);
  tapedeck::PassGuard guard(layout);
  if (layout.scratch().try_take(layout.scratch().total()) == nullptr) return 1;

  const bool spills = layout.scratch().try_take(1) != nullptr;
  if (spills != (options.scratch.spill != nullptr)) return 2;

  tapedeck::WeightsBuilder builder({{.name = "bias", .shape = {3}}});
  builder.as<float>(0)[2] = 0.5F;
  tapedeck::Weights weights = std::move(builder).seal();
  if (!weights.warm() || weights.at("bias").as<float>()[2] != 0.5F) return 4;

  tapedeck::Model model;
  model.shape.layers.assign(1, {.attention = tapedeck::Attention::full,
                                .heads = 1,
                                .kv_heads = 1,
                                .key_dim = 32,
                                .value_dim = 32});
  const tapedeck::PlanOptions there = {
      .profile = tapedeck::llama_cpp_profile(), .total_context = 256, .weights_bytes = 1000};
  if (tapedeck::fit(model, there, tapedeck::host_budget()).empty()) return 7;
  try {
    static_cast<void>(tapedeck::read_model("no such model"));
    return 8;
  } catch (const tapedeck::SystemError&) {
  }

  // Works with and without Prometheus.
  try {
    const tapedeck::MetricsServer server({{&layout, "consumer"}}, ":0");
  } catch (const tapedeck::InvalidArgument&) {
  }
  if (to_json(snapshot_of(layout, "consumer")).find("consumer") == std::string::npos) return 6;

  // Works with and without a GPU.
  const tapedeck::CudaSupport gpus = tapedeck::CudaDevice::support();
  if ((gpus.devices == 0) != !gpus.why.empty()) return 5;

  layout.clear_pass();
  return guard.last().heap_allocations ? 0 : 3;
}
