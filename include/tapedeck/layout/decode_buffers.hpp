// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DecodeBuffers`: the buffers that one decode step writes, as typed spans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/memory/typed_takes.hpp"
#include "tapedeck/plan/region.hpp"

namespace tapedeck::internal {

/// Returns the bytes of a region in whole elements, or an empty span if the plan has no region of
/// that name.
[[nodiscard]] std::span<std::byte> find_decode_buffer(std::byte* base, const TapePlan& plan,
                                                      std::string_view name,
                                                      std::size_t element_bytes);

}  // namespace tapedeck::internal

namespace tapedeck::inline TAPEDECK_ABI {

/// Typed views of the buffers that `plan_decode_buffers` planned. The buffers never overlap. Below
/// the floor of a tape, their addresses remain the same through every clear, so a CUDA graph can be
/// captured over them. Their contents are undefined after a clear and after a prefill, whose
/// buffers share the same memory. A buffer that the plan does not have is an empty span.
///
/// `Element` is the activation type: any type of 2 bytes for f16 and bf16, `float` for f32. B is
/// the batch, q = heads × head_dim, and kv = kv_heads × head_dim, each the largest over all layers.
/// See `plan_decode_buffers` for more.
///
/// Thread-safety: a value. The caller must order writes to the buffers.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// ModelShape shape;
/// shape.hidden = 64;
/// shape.vocabulary = 1000;
/// shape.layers.assign(2, {.attention = Attention::full,
///                         .heads = 4, .kv_heads = 2, .key_dim = 16, .value_dim = 16,
///                         .ffn = 256});
/// const TapePlan plan = plan_decode_buffers(shape, {.batch = 8, .element = DType::bf16});
///
/// HostDevice device;
/// DeviceTape scratch = DeviceTape::start(device, plan.bytes(), {.name = "scratch"});
/// const DeviceSpan<std::byte> planned = scratch.take<std::byte>(plan.bytes());
/// scratch.raise_floor();  // from now on clear() keeps the buffers
/// const DecodeBuffers<std::uint16_t> buffers(planned.data(), plan);
/// scratch.clear();
/// assert(scratch.owns(buffers.logits.data()) && buffers.logits.size() == 8 * 1000);
/// assert(buffers.memory_bytes() == plan.payload() && buffers.temp_dequant.empty());
/// @endcode
/// In a layout made from a plan, use `HostDecodeBuffers<float>(layout.scratch().data(),
/// layout.plan().scratch)`.
template <class Element, template <class> class SpanOf = DeviceSpan>
struct DecodeBuffers {
  SpanOf<Element> embed_out{};               ///< B × hidden.
  SpanOf<Element> norm_out{};                ///< B × hidden.
  SpanOf<Element> qkv_out{};                 ///< B × (q + 2 kv).
  SpanOf<Element> q_rotated{};               ///< B × q.
  SpanOf<Element> k_rotated{};               ///< B × kv.
  SpanOf<Element> rope_q_temp{};             ///< B × q.
  SpanOf<Element> rope_k_temp{};             ///< B × kv.
  SpanOf<Element> attn_out{};                ///< B × q.
  SpanOf<Element> o_proj_out{};              ///< B × hidden.
  SpanOf<Element> residual{};                ///< B × hidden.
  SpanOf<Element> post_norm_out{};           ///< B × hidden.
  SpanOf<Element> post_norm_residual{};      ///< B × hidden.
  SpanOf<Element> scratch_attn{};            ///< q, for one token.
  SpanOf<std::uint64_t> batched_k_ptrs{};    ///< B.
  SpanOf<std::uint64_t> batched_v_ptrs{};    ///< B.
  SpanOf<std::int32_t> batched_kv_lens{};    ///< B.
  SpanOf<std::int32_t> batched_positions{};  ///< B.
  SpanOf<float> flash_partial_out{};         ///< heads × 32 splits × head_dim.
  SpanOf<float> flash_partial_m{};           ///< heads × 32 splits.
  SpanOf<float> flash_partial_l{};           ///< heads × 32 splits.
  SpanOf<float> scores{};             ///< B × heads × positions; empty with flash attention.
  SpanOf<Element> gate_up_out{};      ///< B × 2 intermediate.
  SpanOf<Element> mlp_act{};          ///< B × intermediate.
  SpanOf<Element> down_out{};         ///< B × hidden.
  SpanOf<float> router_logits{};      ///< B × experts.
  SpanOf<std::int32_t> expert_ids{};  ///< B × experts used.
  SpanOf<float> expert_weights{};     ///< B × experts used.
  SpanOf<Element> expert_out{};       ///< B × experts used × hidden.
  SpanOf<Element> temp_dequant{};     ///< hidden × 2 intermediate, for INT4 weights.
  SpanOf<Element> recurrent_in{};     ///< B × (inner + convolved).
  SpanOf<Element> recurrent_conv{};   ///< B × convolved.
  SpanOf<Element> recurrent_out{};    ///< B × inner.
  SpanOf<Element> final_norm_out{};   ///< B × hidden.
  SpanOf<Element> logits{};           ///< B × vocabulary.

  /// Makes all buffers empty.
  DecodeBuffers() = default;

  /// Views the decode buffers of `plan`, which may also have other regions. `base` is the address
  /// where the plan begins. The memory is neither read nor written.
  /// @throws InvalidArgument if a region has elements of a different size, or `base` is not
  /// sufficiently aligned for a region.
  DecodeBuffers(std::byte* base, const TapePlan& plan) {
    visit_buffers(*this, [&]<class T>(std::string_view name, SpanOf<T>& buffer) {
      const auto found = internal::find_decode_buffer(base, plan, name, sizeof(T));
      buffer = {reinterpret_cast<T*>(found.data()), found.size() / sizeof(T)};
    });
  }

  /// Calls `visit(name, span)` for each buffer, including empty ones. The name is that of the
  /// buffer's region, such as "decode.embed_out".
  template <class Visit>
  void for_each(Visit&& visit) const {
    visit_buffers(*this, visit);
  }

  /// The exact sum of all buffers, without padding. Upstream's function omits five of them.
  [[nodiscard]] std::size_t memory_bytes() const noexcept {
    std::size_t bytes = 0;
    for_each([&]<class T>(std::string_view, const SpanOf<T>& buffer) {
      bytes += buffer.size() * sizeof(T);
    });
    return bytes;
  }

 private:
  template <class Self, class Visit>
  static void visit_buffers(Self& self, Visit&& visit) {
    visit("decode.embed_out", self.embed_out);
    visit("decode.norm_out", self.norm_out);
    visit("decode.qkv_out", self.qkv_out);
    visit("decode.q_rotated", self.q_rotated);
    visit("decode.k_rotated", self.k_rotated);
    visit("decode.rope_q_temp", self.rope_q_temp);
    visit("decode.rope_k_temp", self.rope_k_temp);
    visit("decode.attn_out", self.attn_out);
    visit("decode.o_proj_out", self.o_proj_out);
    visit("decode.residual", self.residual);
    visit("decode.post_norm_out", self.post_norm_out);
    visit("decode.post_norm_residual", self.post_norm_residual);
    visit("decode.scratch_attn", self.scratch_attn);
    visit("decode.batched_k_ptrs", self.batched_k_ptrs);
    visit("decode.batched_v_ptrs", self.batched_v_ptrs);
    visit("decode.batched_kv_lens", self.batched_kv_lens);
    visit("decode.batched_positions", self.batched_positions);
    visit("decode.flash_partial_out", self.flash_partial_out);
    visit("decode.flash_partial_m", self.flash_partial_m);
    visit("decode.flash_partial_l", self.flash_partial_l);
    visit("decode.scores", self.scores);
    visit("decode.gate_up_out", self.gate_up_out);
    visit("decode.mlp_act", self.mlp_act);
    visit("decode.down_out", self.down_out);
    visit("decode.router_logits", self.router_logits);
    visit("decode.expert_ids", self.expert_ids);
    visit("decode.expert_weights", self.expert_weights);
    visit("decode.expert_out", self.expert_out);
    visit("decode.temp_dequant", self.temp_dequant);
    visit("decode.recurrent_in", self.recurrent_in);
    visit("decode.recurrent_conv", self.recurrent_conv);
    visit("decode.recurrent_out", self.recurrent_out);
    visit("decode.final_norm_out", self.final_norm_out);
    visit("decode.logits", self.logits);
  }
};

/// `DecodeBuffers` in memory that the host can write.
template <class Element>
using HostDecodeBuffers = DecodeBuffers<Element, HostSpan>;

}  // namespace tapedeck::inline TAPEDECK_ABI
