// SPDX-License-Identifier: Apache-2.0
#include "plan/scratch_plan.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/decode_buffers.hpp"
#include "plan/sizes.hpp"
#include "plan/weights_plan.hpp"
#include "plan/widest_layers.hpp"
#include "tapedeck/plan/packing.hpp"

namespace tapedeck::internal {
namespace {

// The steps of a prefill, in chronological order. Each layer runs those that it has.
enum Step : std::uint32_t {
  // clang-format off
  kEmbedding,
  kAttentionNorm, kProject, kScores, kAttend, kAttentionOut,
  kRecurrentNorm, kRecurrentIn, kConvolve, kScan, kRecurrentOut,
  kFfnNorm, kGateUp, kActivation, kDown,
  kExpertNorm, kRoute, kExpertGateUp, kExpertActivation, kExpertDown, kExpertSum,
  kFinalNorm, kLogits,
  kDecode, kEnd,
  // clang-format on
};

constexpr std::array<std::string_view, kDecode> kStages = {
    "embedding",    "attention",    "attention",    "attention", "attention", "attention",
    "recurrent",    "recurrent",    "recurrent",    "recurrent", "recurrent", "feed-forward",
    "feed-forward", "feed-forward", "feed-forward", "experts",   "experts",   "experts",
    "experts",      "experts",      "experts",      "logits",    "logits",
};

// Returns the attention scores of one query token, heads × keys, in the layer with the most.
std::uint64_t score_columns(const ModelShape& shape, const CacheCells& cells) {
  std::uint64_t widest = 0;
  for (const LayerShape& layer : shape.layers) {
    if (layer.attention == Attention::none) continue;
    const std::uint64_t keys = shape.encoder ? cells.micro_batch : cells.rows_of(layer);
    widest = std::max(widest, fits(CheckedSize(layer.heads) * keys));
  }
  return widest;
}

class PrefillPlanner {
 public:
  PrefillPlanner(const Model& model, const PlanOptions& options, const CacheCells& cells)
      : shape_(model.shape),
        options_(options),
        cells_(cells),
        tokens_(cells.micro_batch),
        widest_(widest_layers(model.shape)) {}

  std::vector<Region> buffers() {
    add_rows("token_ids", DType::i32, 1, kEmbedding, kAttentionNorm);
    add_rows("positions", DType::i32, 1, kEmbedding, kAttend);
    add_rows("residual", shape_.hidden, kEmbedding, kLogits);
    add_attention();
    add_recurrent();
    add_dense();
    add_experts();
    add_logits();
    return std::move(out_);
  }

 private:
  void add_attention() {
    if (widest_.q == 0) return;
    add_rows("norm_out", shape_.hidden, kAttentionNorm, kScores);
    add_rows("q_out", widest_.q, kProject, kAttend);
    add_rows("kv_out", CheckedSize(std::max(widest_.k, widest_.latent)) + widest_.v, kProject,
             kScores);
    if (!options_.flash_attention) {
      // Scores are f32, because a softmax is computed from them.
      add_rows("scores", DType::f32, score_columns(shape_, cells_), kScores, kAttentionOut);
    }
    add_rows("attn_out", widest_.attention_out, kAttend, kRecurrentNorm);
    add_rows("o_proj_out", shape_.hidden, kAttentionOut, kRecurrentNorm);
  }

  void add_recurrent() {
    if (widest_.inner == 0) return;
    add_rows("recurrent_norm_out", shape_.hidden, kRecurrentNorm, kConvolve);
    add_rows("recurrent_in", CheckedSize(widest_.inner) + widest_.convolved, kRecurrentIn,
             kRecurrentOut);
    add_rows("recurrent_conv", widest_.convolved, kConvolve, kRecurrentOut);
    add_rows("recurrent_scan", widest_.inner, kScan, kFfnNorm);
    add_rows("recurrent_out", shape_.hidden, kRecurrentOut, kFfnNorm);
  }

  void add_dense() {
    const std::uint64_t width = std::max(widest_.ffn, widest_.shared_ffn);
    if (width == 0) return;
    add_rows("post_norm_out", shape_.hidden, kFfnNorm, kActivation);
    add_rows("gate_up_out", CheckedSize(width) * 2, kGateUp, kDown);
    add_rows("mlp_act", width, kActivation, kExpertNorm);
    // The output of shared experts is kept until that of the routed experts is added to it.
    add_rows("down_out", shape_.hidden, kDown, widest_.shared_ffn != 0 ? kFinalNorm : kExpertNorm);
  }

  void add_experts() {
    if (widest_.experts == 0) return;
    const std::uint64_t used = widest_.experts_used;
    const CheckedSize rows = CheckedSize(used) * shape_.hidden;
    add_rows("expert_norm_out", shape_.hidden, kExpertNorm, kExpertGateUp);
    add_rows("router_logits", DType::f32, widest_.experts, kRoute, kExpertGateUp);
    add_rows("expert_ids", DType::i32, used, kRoute, kFinalNorm);
    add_rows("expert_weights", DType::f32, used, kRoute, kFinalNorm);
    // Contains each token's row once for each of its experts, sorted by expert.
    add_rows("expert_in", rows, kRoute, kExpertActivation);
    add_rows("expert_gate_up", CheckedSize(widest_.expert_rows) * 2, kExpertGateUp, kExpertDown);
    add_rows("expert_act", widest_.expert_rows, kExpertActivation, kExpertSum);
    add_rows("expert_down", rows, kExpertDown, kFinalNorm);
    add_rows("expert_out", shape_.hidden, kExpertSum, kFinalNorm);
  }

  void add_logits() {
    if (shape_.encoder) return add_rows("final_norm_out", shape_.hidden, kFinalNorm, kDecode);
    // Sampling needs only the last token of each sequence.
    const std::uint64_t outputs =
        options_.all_logits ? tokens_ : std::min(tokens_, options_.sequences);
    add_buffer("final_norm_out", options_.activation_type, {outputs, shape_.hidden}, kFinalNorm,
               kDecode);
    add_buffer("logits", options_.activation_type, {outputs, shape_.vocabulary}, kLogits, kDecode);
  }

  void add_rows(const char* name, const CheckedSize& width, Step begin, Step end) {
    add_rows(name, options_.activation_type, width, begin, end);
  }
  void add_rows(const char* name, DType type, const CheckedSize& width, Step begin, Step end) {
    add_buffer(name, type, {tokens_, fits(width)}, begin, end);
  }
  void add_buffer(const char* name, DType type, std::vector<std::uint64_t> shape, Step begin,
                  Step end) {
    const CheckedSize bytes = CheckedSize(shape[0]) * shape[1] * traits(type).block_bytes;
    if (fits(bytes) == 0) return;
    out_.push_back({.name = std::string("prefill.") + name,
                    .role = RegionRole::prefill,
                    .bytes = fits(bytes),
                    .alignment = kDeviceAlignment,
                    .dtype = type,
                    .shape = std::move(shape),
                    .live = {begin, end}});
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  const CacheCells& cells_;
  std::uint64_t tokens_;
  WidestLayers widest_;
  std::vector<Region> out_;
};

void place_decode(const Model& model, const PlanOptions& options, const CacheCells& cells,
                  TapePlan& tape) {
  const bool keeps_scores = !options.flash_attention && !model.shape.encoder;
  const TapePlan decode = decode_buffers(
      model.shape, {.batch = options.decode_batch,
                    .element = options.activation_type,
                    .int4_weights = has_4_bit_weights(model, options),
                    .score_columns = keeps_scores ? score_columns(model.shape, cells) : 0});
  for (Region region : decode.regions()) {
    region.live = {kDecode, kEnd};
    tape.place(std::move(region));
  }
}

}  // namespace

void plan_scratch(const Model& model, const PlanOptions& options, const CacheCells& cells,
                  Plan& out) {
  require_activation_type("PlanOptions::activation_type", options.activation_type);
  place_decode(model, options, cells, out.scratch);

  std::vector<Region> prefill = PrefillPlanner(model, options, cells).buffers();
  const Packing packing = pack(prefill);
  for (std::size_t i = 0; i < prefill.size(); ++i) {
    prefill[i].offset = packing.offsets[i];
    out.scratch.place(std::move(prefill[i]));
  }
  out.prefill_lower_bound = packing.lower_bound;
  if (!prefill.empty()) out.peak_stage = kStages[packing.lower_bound_stage];
}

}  // namespace tapedeck::internal
