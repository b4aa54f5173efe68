#include "engines/llama_cpp/scratch.hpp"

#include <string>

#include "engines/llama_cpp/graph.hpp"
#include "engines/llama_cpp/graph_hints.hpp"
#include "plan/sizes.hpp"

namespace tapedeck::internal {

ScratchPlan plan_llama_cpp_scratch(const Model& model, const PlanOptions& options,
                                   const CacheCells& cells) {
  const GraphHints hints = graph_hints(model);
  const auto footprint = LlamaCppGraph(model.shape, options, cells, hints).measure();

  ScratchPlan out;
  out.tape.append({.name = "prefill.compute_buffer",
                   .role = RegionRole::prefill,
                   .bytes = footprint.bytes,
                   .dtype = DType::u8,
                   .shape = {footprint.bytes}});
  // An encoder hands out its hidden rows as well.
  const CheckedSize width =
      CheckedSize(model.shape.vocabulary) + (model.shape.encoder ? model.shape.hidden : 0);
  out.tape.append({.name = "decode.output",
                   .role = RegionRole::decode,
                   .bytes = fits(width * options.sequences * sizeof(float)),
                   .dtype = DType::f32,
                   .shape = {options.sequences, fits(width)}});
  out.peak_stage = footprint.stage;
  out.prefill_lower_bound = footprint.live;
  return out;
}

}  // namespace tapedeck::internal
