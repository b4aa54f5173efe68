// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/engines/llama_cpp/profile.hpp"

#include <array>

#include "engines/llama_cpp/graph.hpp"
#include "plan/cache_cells.hpp"
#include "plan/history_plan.hpp"
#include "plan/sizes.hpp"
#include "plan/widest_layers.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::CacheCells;

constexpr std::array kWithoutKernels = {DType::f8_e4m3, DType::f8_e5m2, DType::i8};

CacheCells plan_cells(const ModelShape& shape, const PlanOptions& options) {
  CacheCells cells = internal::cache_cells(shape, options);
  cells.windowless = shape.windowless_engine;
  return cells;
}

TapePlan plan_history(const ModelShape& shape, const PlanOptions& options,
                      const CacheCells& cells) {
  if (traits(options.value_type).block_elements > 1 && !options.flash_attention) {
    throw InvalidArgument({.argument = "PlanOptions::flash_attention"},
                          "llama.cpp supports quantized V caches only with flash attention",
                          "turn flash attention on, or use an f16 V cache");
  }
  return internal::plan_history(
      shape, options, cells,
      {.value_width = options.flash_attention ? 0 : internal::widest_layers(shape).v,
       .blocks_in_heads = true,
       .unsupported = kWithoutKernels});
}

void plan_scratch(const Model& model, const PlanOptions& options, const CacheCells& cells,
                  Plan& out) {
  const auto footprint = internal::LlamaCppGraph(model.shape, options, cells).measure();
  out.scratch.append({.name = "prefill.compute_buffer",
                      .role = RegionRole::prefill,
                      .bytes = footprint.bytes,
                      .dtype = DType::u8,
                      .shape = {footprint.bytes}});
  // An encoder returns its hidden rows as well.
  const internal::CheckedSize width = internal::CheckedSize(model.shape.vocabulary) +
                                      (model.shape.encoder ? model.shape.hidden : 0);
  out.scratch.append({.name = "decode.output",
                      .role = RegionRole::decode,
                      .bytes = internal::fits(width * options.sequences * sizeof(float)),
                      .dtype = DType::f32,
                      .shape = {options.sequences, internal::fits(width)}});
  out.peak_stage = footprint.stage;
  out.prefill_lower_bound = footprint.live;
}

}  // namespace

Profile llama_cpp_profile() noexcept {
  return {.name = "llama.cpp",
          .plan_cells = plan_cells,
          .plan_history = plan_history,
          .plan_scratch = plan_scratch,
          .scratch_certainty = Certainty::estimated};  // within some percent of what it prints
}

}  // namespace tapedeck::inline TAPEDECK_ABI
