#include "tapedeck/plan/decode_buffers_plan.hpp"

#include <algorithm>
#include <string>

#include "plan/sizes.hpp"
#include "plan/widest_layers.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::fits;

constexpr std::uint64_t kAlignment = 256;
constexpr std::uint64_t kMaxSplits = 32;  // Parts of the keys that flash decoding works on apart.

class DecodePlanner {
 public:
  DecodePlanner(const ModelShape& shape, const DecodeBuffersOptions& options)
      : shape_(shape), options_(options), widest_(internal::widest_layers(shape)) {
    if (options.batch == 0) {
      throw InvalidArgument("the batch of a decode step is 0", "it is 1 at least");
    }
    if (traits(options.element).block_elements != 1) {
      throw InvalidArgument("activations of type " + std::string(to_string(options.element)),
                            "use f16, bf16 or f32: a type that is not stored in blocks");
    }
  }

  TapePlan plan() {
    add_attention();
    add_feed_forward();
    add_recurrent();
    add_rows("final_norm_out", shape_.hidden);
    if (!shape_.encoder) add_rows("logits", shape_.vocabulary);
    return std::move(out_);
  }

 private:
  void add_attention() {
    const WidestLayers& w = widest_;
    const std::uint64_t keys = w.latent != 0 ? std::max(w.k, w.latent) : w.k;
    add_rows("embed_out", shape_.hidden);
    add_rows("norm_out", shape_.hidden);
    add_rows("qkv_out", fits(internal::CheckedSize(w.q) + keys + w.v));
    add_rows("q_rotated", w.q);
    add_rows("k_rotated", keys);
    add_rows("rope_q_temp", w.q);
    add_rows("rope_k_temp", keys);
    add_rows("attn_out", w.attention_out);
    if (w.q != 0) add_rows("o_proj_out", shape_.hidden);
    add_rows("residual", shape_.hidden);
    add_rows("post_norm_out", shape_.hidden);
    add_rows("post_norm_residual", shape_.hidden);
    if (w.q == 0) return;
    add("scratch_attn", options_.element, w.q);
    for (const char* name : {"batched_k_ptrs", "batched_v_ptrs"}) {
      add(name, DType::u64, options_.batch);
    }
    for (const char* name : {"batched_kv_lens", "batched_positions"}) {
      add(name, DType::i32, options_.batch);
    }
    const std::uint64_t partials = fits(internal::CheckedSize(w.heads) * kMaxSplits);
    add("flash_partial_out", DType::f32, fits(internal::CheckedSize(partials) * w.head_dim));
    add("flash_partial_m", DType::f32, partials);
    add("flash_partial_l", DType::f32, partials);
    add("scores", DType::f32, fits(internal::CheckedSize(options_.score_columns) * options_.batch));
  }

  void add_feed_forward() {
    const WidestLayers& w = widest_;
    const std::uint64_t width = std::max({w.ffn, w.shared_ffn, w.expert_rows});
    const std::uint64_t gate_up = fits(internal::CheckedSize(width) * 2);
    add_rows("gate_up_out", gate_up);
    add_rows("mlp_act", width);
    if (width != 0) add_rows("down_out", shape_.hidden);
    add("router_logits", DType::f32, fits(internal::CheckedSize(w.experts) * options_.batch));
    add("expert_ids", DType::i32, fits(internal::CheckedSize(w.experts_used) * options_.batch));
    add("expert_weights", DType::f32, fits(internal::CheckedSize(w.experts_used) * options_.batch));
    add_rows("expert_out", fits(internal::CheckedSize(w.experts_used) * shape_.hidden));
    if (!options_.int4_weights) return;
    const std::uint64_t dense = fits(internal::CheckedSize(std::max(w.ffn, w.shared_ffn)) * 2);
    add("temp_dequant", options_.element,
        fits(internal::CheckedSize(shape_.hidden) * (dense != 0 ? dense : gate_up)));
  }

  void add_recurrent() {
    const WidestLayers& w = widest_;
    if (w.inner == 0) return;
    add_rows("recurrent_in", fits(internal::CheckedSize(w.inner) + w.convolved));
    add_rows("recurrent_conv", w.convolved);
    add_rows("recurrent_out", w.inner);
  }

  void add_rows(const char* name, std::uint64_t width) {
    add(name, options_.element, fits(internal::CheckedSize(width) * options_.batch));
  }

  void add(const char* name, DType type, std::uint64_t elements) {
    if (elements == 0) return;
    out_.append({.name = std::string("decode.") + name,
                 .role = RegionRole::decode,
                 .bytes = fits(internal::CheckedSize(elements) * traits(type).block_bytes),
                 .alignment = kAlignment,
                 .dtype = type,
                 .shape = {elements}});
  }

  using WidestLayers = internal::WidestLayers;

  const ModelShape& shape_;
  const DecodeBuffersOptions& options_;
  WidestLayers widest_;
  TapePlan out_{TapeKind::scratch};
};

}  // namespace

TapePlan plan_decode_buffers(const ModelShape& shape, const DecodeBuffersOptions& options) {
  return DecodePlanner(shape, options).plan();
}

}  // namespace tapedeck::inline TAPEDECK_ABI
