// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/decode_buffers_plan.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "base/require.hpp"
#include "plan/decode_buffers.hpp"
#include "plan/name_overflow.hpp"
#include "plan/sizes.hpp"
#include "plan/widest_layers.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::CheckedSize;

// Flash decoding splits the keys into at most this many parts.
constexpr std::uint64_t kMaxSplits = 32;

class DecodePlanner {
 public:
  DecodePlanner(const ModelShape& shape, const DecodeBuffersOptions& options)
      : shape_(shape), options_(options), widest_(internal::widest_layers(shape)) {}

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
    const internal::WidestLayers& w = widest_;
    const std::uint64_t keys = w.latent != 0 ? std::max(w.k, w.latent) : w.k;
    add_rows("embed_out", shape_.hidden);
    add_rows("norm_out", shape_.hidden);
    add_rows("qkv_out", CheckedSize(w.q) + keys + w.v);
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
    add_buffer("scratch_attn", options_.element, w.q);
    for (const char* name : {"batched_k_ptrs", "batched_v_ptrs"}) add_rows(name, 1, DType::u64);
    for (const char* name : {"batched_kv_lens", "batched_positions"}) {
      add_rows(name, 1, DType::i32);
    }
    const CheckedSize partials = CheckedSize(w.heads) * kMaxSplits;
    add_buffer("flash_partial_out", DType::f32, partials * w.head_dim);
    add_buffer("flash_partial_m", DType::f32, partials);
    add_buffer("flash_partial_l", DType::f32, partials);
    add_rows("scores", options_.score_columns, DType::f32);
  }

  void add_feed_forward() {
    const internal::WidestLayers& w = widest_;
    const std::uint64_t width = std::max({w.ffn, w.shared_ffn, w.expert_rows});
    add_rows("gate_up_out", CheckedSize(width) * 2);
    add_rows("mlp_act", width);
    if (width != 0) add_rows("down_out", shape_.hidden);
    add_rows("router_logits", w.experts, DType::f32);
    add_rows("expert_ids", w.experts_used, DType::i32);
    add_rows("expert_weights", w.experts_used, DType::f32);
    add_rows("expert_out", CheckedSize(w.experts_used) * shape_.hidden);
    if (!options_.int4_weights) return;
    const std::uint64_t dense = std::max(w.ffn, w.shared_ffn);
    add_buffer("temp_dequant", options_.element,
               CheckedSize(shape_.hidden) * (dense != 0 ? dense : width) * 2);
  }

  void add_recurrent() {
    const internal::WidestLayers& w = widest_;
    if (w.inner == 0) return;
    add_rows("recurrent_in", CheckedSize(w.inner) + w.convolved);
    add_rows("recurrent_conv", w.convolved);
    add_rows("recurrent_out", w.inner);
  }

  void add_rows(const char* name, const CheckedSize& width, std::optional<DType> type = {}) {
    add_buffer(name, type.value_or(options_.element), width * options_.batch);
  }
  void add_buffer(const char* name, DType type, const CheckedSize& size) {
    const std::uint64_t elements = internal::fits(size);
    if (elements == 0) return;
    out_.append({.name = std::string("decode.") + name,
                 .role = RegionRole::decode,
                 .bytes = internal::row_bytes(type, elements),
                 .alignment = internal::kDeviceAlignment,
                 .dtype = type,
                 .shape = {elements}});
  }

  const ModelShape& shape_;
  const DecodeBuffersOptions& options_;
  internal::WidestLayers widest_;
  TapePlan out_{TapeKind::scratch};
};

constexpr std::array<internal::SizeOption<DecodeBuffersOptions>, 2> kDecodeSizes = {{
    {"DecodeBuffersOptions::score_columns", &DecodeBuffersOptions::score_columns, 0},
    {"DecodeBuffersOptions::batch", &DecodeBuffersOptions::batch},
}};

}  // namespace

TapePlan plan_decode_buffers(const ModelShape& shape, const DecodeBuffersOptions& options) {
  internal::require_one("DecodeBuffersOptions::batch", options.batch);
  internal::require_activation_type("DecodeBuffersOptions::element", options.element);
  return internal::name_overflow<DecodeBuffersOptions>(
      options, kDecodeSizes,
      [&](const DecodeBuffersOptions& given) { return internal::decode_buffers(shape, given); });
}

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal {

void require_activation_type(const char* argument, DType type) {
  if (traits(type).block_elements == 1) return;
  throw InvalidArgument({.argument = argument},
                        "activations cannot be of type " + std::string(to_string(type)),
                        "use a type that is not stored in blocks, such as f16, bf16 or f32");
}

TapePlan decode_buffers(const ModelShape& shape, const DecodeBuffersOptions& options) {
  return DecodePlanner(shape, options).plan();
}

}  // namespace tapedeck::internal
