#include "plan/scratch_plan.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "plan/sizes.hpp"
#include "plan/weights_plan.hpp"
#include "plan/widest_layers.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/plan/decode_buffers_plan.hpp"
#include "tapedeck/plan/packing.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kAlignment = 256;

// The steps of a prefill, in the order of time. Each layer runs through those it has.
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

/// A buffer of the prefill, and what its elements are.
struct PrefillBuffer {
  Buffer buffer;
  DType dtype;
  std::vector<std::uint64_t> shape;
};

// Attention scores of one query token: heads × keys, in the widest layer.
std::uint64_t score_columns(const ModelShape& shape, const CacheCells& cells) {
  std::uint64_t widest = 0;
  for (const LayerShape& layer : shape.layers) {
    if (layer.attention == Attention::none) continue;
    const std::uint64_t ratio = std::max<std::uint64_t>(layer.compress_ratio, 1);
    const std::uint64_t keys = shape.encoder ? cells.micro_batch : parts(cells.of(layer), ratio);
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

  std::vector<PrefillBuffer> buffers() {
    const std::uint64_t hidden = shape_.hidden;
    add("token_ids", DType::i32, 1, kEmbedding, kAttentionNorm);
    add("positions", DType::i32, 1, kEmbedding, kAttend);
    add("residual", hidden, kEmbedding, kLogits);
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
    const std::uint64_t keys = fits(CheckedSize(std::max(widest_.k, widest_.latent)) + widest_.v);
    add("norm_out", shape_.hidden, kAttentionNorm, kScores);
    add("q_out", widest_.q, kProject, kAttend);
    add("kv_out", keys, kProject, kScores);
    if (!options_.flash_attention) {
      // In f32, because a softmax is taken of them.
      add("scores", DType::f32, score_columns(shape_, cells_), kScores, kAttentionOut);
    }
    add("attn_out", widest_.attention_out, kAttend, kRecurrentNorm);
    add("o_proj_out", shape_.hidden, kAttentionOut, kRecurrentNorm);
  }

  void add_recurrent() {
    if (widest_.inner == 0) return;
    add("recurrent_norm_out", shape_.hidden, kRecurrentNorm, kConvolve);
    add("recurrent_in", fits(CheckedSize(widest_.inner) + widest_.convolved), kRecurrentIn,
        kRecurrentOut);
    add("recurrent_conv", widest_.convolved, kConvolve, kRecurrentOut);
    add("recurrent_scan", widest_.inner, kScan, kFfnNorm);
    add("recurrent_out", shape_.hidden, kRecurrentOut, kFfnNorm);
  }

  void add_dense() {
    const std::uint64_t width = std::max(widest_.ffn, widest_.shared_ffn);
    if (width == 0) return;
    add("post_norm_out", shape_.hidden, kFfnNorm, kActivation);
    add("gate_up_out", fits(CheckedSize(width) * 2), kGateUp, kDown);
    add("mlp_act", width, kActivation, kExpertNorm);
    // What the shared experts give is added to what the others give.
    add("down_out", shape_.hidden, kDown, widest_.shared_ffn != 0 ? kFinalNorm : kExpertNorm);
  }

  void add_experts() {
    if (widest_.experts == 0) return;
    const std::uint64_t used = widest_.experts_used;
    const std::uint64_t rows = fits(CheckedSize(used) * shape_.hidden);
    add("expert_norm_out", shape_.hidden, kExpertNorm, kExpertGateUp);
    add("router_logits", DType::f32, widest_.experts, kRoute, kExpertGateUp);
    add("expert_ids", DType::i32, used, kRoute, kFinalNorm);
    add("expert_weights", DType::f32, used, kRoute, kFinalNorm);
    // Every token's row once for each of its experts, sorted by expert.
    add("expert_in", rows, kRoute, kExpertActivation);
    add("expert_gate_up", fits(CheckedSize(widest_.expert_rows) * 2), kExpertGateUp, kExpertDown);
    add("expert_act", widest_.expert_rows, kExpertActivation, kExpertSum);
    add("expert_down", rows, kExpertDown, kFinalNorm);
    add("expert_out", shape_.hidden, kExpertSum, kFinalNorm);
  }

  void add_logits() {
    if (shape_.encoder) return add("final_norm_out", shape_.hidden, kFinalNorm, kDecode);
    // The last token of each sequence is what is sampled from.
    const std::uint64_t outputs =
        options_.all_logits ? tokens_ : std::min(tokens_, options_.sequences);
    append("final_norm_out", options_.activation_type, {outputs, shape_.hidden}, kFinalNorm,
           kDecode);
    append("logits", options_.activation_type, {outputs, shape_.vocabulary}, kLogits, kDecode);
  }

  void add(const char* name, std::uint64_t width, Step begin, Step end) {
    add(name, options_.activation_type, width, begin, end);
  }
  void add(const char* name, DType type, std::uint64_t width, Step begin, Step end) {
    append(name, type, {tokens_, width}, begin, end);
  }
  void append(const char* name, DType type, const std::array<std::uint64_t, 2>& shape, Step begin,
              Step end) {
    const std::uint64_t bytes = fits(CheckedSize(shape[0]) * shape[1] * traits(type).block_bytes);
    if (bytes == 0) return;
    out_.push_back({{std::string("prefill.") + name, bytes, kAlignment, {begin, end}},
                    type,
                    {shape[0], shape[1]}});
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  const CacheCells& cells_;
  std::uint64_t tokens_;
  WidestLayers widest_;
  std::vector<PrefillBuffer> out_;
};

void place_decode(const Model& model, const PlanOptions& options, const CacheCells& cells,
                  TapePlan& tape) {
  const bool keeps_scores = !options.flash_attention && !model.shape.encoder;
  const TapePlan decode = plan_decode_buffers(
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

ScratchPlan plan_scratch(const Model& model, const PlanOptions& options, const CacheCells& cells) {
  ScratchPlan out;
  place_decode(model, options, cells, out.tape);

  const std::vector<PrefillBuffer> prefill = PrefillPlanner(model, options, cells).buffers();
  std::vector<Buffer> buffers;
  buffers.reserve(prefill.size());
  for (const PrefillBuffer& each : prefill) buffers.push_back(each.buffer);
  const Packing packing = pack(buffers);
  for (std::size_t i = 0; i < prefill.size(); ++i) {
    const auto& [buffer, dtype, shape] = prefill[i];
    out.tape.place({.name = buffer.name,
                    .role = RegionRole::prefill,
                    .offset = packing.offsets[i],
                    .bytes = buffer.bytes,
                    .alignment = buffer.alignment,
                    .dtype = dtype,
                    .shape = shape,
                    .live = buffer.live});
  }
  out.prefill_lower_bound = packing.lower_bound;
  if (!buffers.empty()) out.peak_stage = kStages[packing.lower_bound_stage];
  return out;
}

}  // namespace tapedeck::internal
