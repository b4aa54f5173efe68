// SPDX-License-Identifier: Apache-2.0
// The typed view of a plan's decode buffers. The planner's tests check how large each of them is.
#include "tapedeck/layout/decode_buffers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "model/shared_data.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/decode_buffers_plan.hpp"

namespace tapedeck::tests {
namespace {

/// An address for buffers that are never written.
std::byte* const kAnywhere = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 20U);

/// A buffer, whatever the type of its elements.
struct Buffer {
  std::string name;  ///< Without "decode.".
  std::byte* at = nullptr;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;

  friend bool operator==(const Buffer&, const Buffer&) = default;
};

template <class Buffers>
std::vector<Buffer> list_of(const Buffers& buffers) {
  std::vector<Buffer> all;
  buffers.for_each([&](std::string_view name, auto span) {
    EXPECT_TRUE(name.starts_with("decode.")) << name;
    all.push_back({.name = std::string(name.substr(7)),
                   .at = reinterpret_cast<std::byte*>(span.data()),
                   .elements = span.size(),
                   .bytes = span.size() * sizeof(*span.data())});
  });
  return all;
}

/// The buffers that are not empty.
template <class Buffers>
std::vector<Buffer> present_in(const Buffers& buffers) {
  std::vector<Buffer> all = list_of(buffers);
  std::erase_if(all, [](const Buffer& buffer) { return buffer.elements == 0; });
  return all;
}

std::uint64_t element_bytes_of(const std::string& name, std::uint64_t activation) {
  if (name == "batched_k_ptrs" || name == "batched_v_ptrs") return 8;
  const bool words = name == "batched_kv_lens" || name == "batched_positions" ||
                     name.starts_with("flash_partial_") || name == "scores" ||
                     name == "router_logits" || name == "expert_ids" || name == "expert_weights";
  return words ? 4 : activation;
}

/// Checks what holds for the buffers of every model: they are the plan's regions, and do not
/// overlap.
template <class Element, class Buffers>
void expect_sound(const Buffers& buffers, const TapePlan& plan, std::byte* base = kAnywhere) {
  std::vector<Buffer> all = present_in(buffers);
  EXPECT_EQ(all.size(), plan.regions().size());
  EXPECT_EQ(buffers.memory_bytes(), plan.payload());
  for (const Buffer& buffer : all) {
    const Region* region = plan.find("decode." + buffer.name);
    ASSERT_NE(region, nullptr) << buffer.name;
    EXPECT_EQ(buffer.at, base + region->offset) << buffer.name;
    EXPECT_EQ(buffer.bytes, region->bytes) << buffer.name;
    EXPECT_EQ(buffer.bytes, buffer.elements * element_bytes_of(buffer.name, sizeof(Element)))
        << buffer.name;
  }
  std::sort(all.begin(), all.end(), [](const Buffer& a, const Buffer& b) { return a.at < b.at; });
  const std::byte* end = base;
  for (const Buffer& buffer : all) {
    EXPECT_GE(buffer.at, end) << buffer.name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.at) % 256, 0U) << buffer.name;
    end = buffer.at + buffer.bytes;
  }
  EXPECT_LE(end, base + plan.bytes());
}

template <class Element>
void check_model(const ModelShape& shape, DType type) {
  for (const std::uint64_t batch : {1U, 4U, 64U}) {
    for (const bool int4 : {false, true}) {
      const TapePlan plan = plan_decode_buffers(
          shape, {.batch = batch, .element = type, .int4_weights = int4, .score_columns = 48});
      expect_sound<Element>(DecodeBuffers<Element>(kAnywhere, plan), plan);
      expect_sound<Element>(HostDecodeBuffers<Element>(kAnywhere, plan), plan);
    }
  }
}

TEST(DecodeBuffers, OfEverySharedModelAreThePlans) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const ModelShape shape = read_model(shared_data("configs") / row.at("file")).shape;
    check_model<std::uint16_t>(shape, DType::f16);
    check_model<float>(shape, DType::f32);
  }
}

/// A model that has every buffer.
ModelShape shape_with_everything() {
  LayerShape experts = attention_layer(4, 2, 16, 0);
  experts.experts = 8;
  experts.experts_used = 3;
  experts.expert_ffn = 40;
  return model_of({attention_layer(4, 2, 16, 200), experts, mamba2_layer()}, 72, 999).shape;
}

TEST(DecodeBuffers, OfAModelThatHasEveryKindOfLayerAreAllThere) {
  const ModelShape shape = shape_with_everything();
  check_model<std::uint16_t>(shape, DType::bf16);
  check_model<float>(shape, DType::f32);
  const TapePlan plan =
      plan_decode_buffers(shape, {.batch = 2, .int4_weights = true, .score_columns = 48});
  const DecodeBuffers<std::uint16_t> buffers(kAnywhere, plan);
  EXPECT_EQ(present_in(buffers).size(), list_of(buffers).size());
}

#define PLACE_OF(member) \
  std::pair { "decode." #member, reinterpret_cast<std::byte*>(buffers.member.data()) }

TEST(DecodeBuffers, AreTheRegionsOfTheirNames) {
  const TapePlan plan =
      plan_decode_buffers(shape_with_everything(), {.int4_weights = true, .score_columns = 48});
  const DecodeBuffers<std::uint16_t> buffers(kAnywhere, plan);
  const std::map<std::string, std::byte*> members = {
      PLACE_OF(embed_out),       PLACE_OF(norm_out),          PLACE_OF(qkv_out),
      PLACE_OF(q_rotated),       PLACE_OF(k_rotated),         PLACE_OF(rope_q_temp),
      PLACE_OF(rope_k_temp),     PLACE_OF(attn_out),          PLACE_OF(o_proj_out),
      PLACE_OF(residual),        PLACE_OF(post_norm_out),     PLACE_OF(post_norm_residual),
      PLACE_OF(scratch_attn),    PLACE_OF(batched_k_ptrs),    PLACE_OF(batched_v_ptrs),
      PLACE_OF(batched_kv_lens), PLACE_OF(batched_positions), PLACE_OF(flash_partial_out),
      PLACE_OF(flash_partial_m), PLACE_OF(flash_partial_l),   PLACE_OF(gate_up_out),
      PLACE_OF(mlp_act),         PLACE_OF(down_out),          PLACE_OF(router_logits),
      PLACE_OF(expert_ids),      PLACE_OF(expert_weights),    PLACE_OF(expert_out),
      PLACE_OF(temp_dequant),    PLACE_OF(recurrent_in),      PLACE_OF(recurrent_conv),
      PLACE_OF(recurrent_out),   PLACE_OF(final_norm_out),    PLACE_OF(logits),
      PLACE_OF(scores)};
  EXPECT_EQ(members.size(), list_of(buffers).size());
  for (const auto& [name, at] : members) {
    const Region* region = plan.find(name);
    ASSERT_NE(region, nullptr) << name;
    EXPECT_EQ(at, kAnywhere + region->offset) << name;
  }
}

TEST(DecodeBuffers, KeepTheirAddressesThroughEveryClear) {
  Plan plan;
  plan.scratch = plan_decode_buffers(shape_with_everything(), {.element = DType::f32});
  HostDevice device;
  const LayoutSizes extra = {.weights = 0, .scratch = 4_KiB, .history = 0};
  Layout layout(plan, {.extra = extra, .gpus = {{.device = &device, .options = {.extra = extra}}}});
  const auto stay = [&]<class Buffers>(Buffers buffers, auto& tape) {
    expect_sound<float>(buffers, plan.scratch, tape.data());
    for (int pass = 0; pass < 3; ++pass) {
      const auto* const above = static_cast<std::byte*>(tape.take(1_KiB));
      for (const Buffer& buffer : present_in(buffers)) {
        EXPECT_LE(buffer.at + buffer.bytes, above) << buffer.name;
      }
      layout.clear_pass();
    }
  };
  stay(HostDecodeBuffers<float>(layout.scratch().data(), layout.plan().scratch), layout.scratch());
  DeviceLayout& gpu = layout.gpu(0);
  stay(DecodeBuffers<float>(gpu.scratch().data(), gpu.plan().scratch), gpu.scratch());
  const HostDecodeBuffers<float> written(layout.scratch().data(), layout.plan().scratch);
  written.logits.back() = 0.5F;  // spans that the host may write
}

// A whole plan places the buffers of a prefill over those of decode.
TEST(DecodeBuffers, AreFoundAmongOtherRegions) {
  const Plan plan = make_plan(
      qwen2_1_5b(), {.total_context = 4096, .decode_batch = 4, .activation_type = DType::bf16});
  const DecodeBuffers<std::uint16_t> buffers(kAnywhere, plan.scratch);
  EXPECT_EQ(buffers.logits.size(), 4U * 151'936);
  EXPECT_EQ(buffers.memory_bytes(), plan.scratch.payload(RegionRole::decode));
  EXPECT_LT(buffers.memory_bytes(), plan.scratch.payload());
}

TEST(DecodeBuffers, ThatAPlanDoesNotHaveAreEmpty) {
  const DecodeBuffers<float> none;
  const DecodeBuffers<float> of_no_plan(kAnywhere, TapePlan(TapeKind::scratch));
  EXPECT_EQ(list_of(of_no_plan), list_of(none));
  EXPECT_TRUE(present_in(of_no_plan).empty());
  EXPECT_EQ(of_no_plan.memory_bytes(), 0U);
  EXPECT_EQ(of_no_plan.logits.data(), nullptr);

  LayerShape state = mamba2_layer();
  state.ffn = 0;
  const TapePlan recurrent = plan_decode_buffers(model_of({state}).shape, {});
  const DecodeBuffers<std::uint16_t> buffers(kAnywhere, recurrent);
  EXPECT_TRUE(buffers.q_rotated.empty());
  EXPECT_TRUE(buffers.mlp_act.empty());
  EXPECT_FALSE(buffers.recurrent_out.empty());
}

template <class Element>
InvalidArgument refusal_of(const TapePlan& plan, std::byte* base = kAnywhere) {
  return thrown<InvalidArgument>([&] { (void)DecodeBuffers<Element>(base, plan); });
}

TEST(DecodeBuffers, RefuseElementsOfAnotherTypeAndABaseThatIsLessAligned) {
  const ModelShape shape = qwen2_1_5b().shape;
  const TapePlan half = plan_decode_buffers(shape, {.element = DType::bf16});
  const TapePlan full = plan_decode_buffers(shape, {.element = DType::f32});
  TapePlan pointers(TapeKind::scratch);
  pointers.append({.name = "decode.batched_k_ptrs", .bytes = 16, .dtype = DType::u32});
  TapePlan blocks(TapeKind::scratch);
  blocks.append({.name = "decode.logits", .bytes = 68, .dtype = DType::q8_0});
  struct Block {
    char bytes[34];
  };
  alignas(256) std::byte base[256];
  const std::vector<std::pair<InvalidArgument, InvalidArgument::Facts>> rows = {
      {refusal_of<float>(half), {.argument = "decode.embed_out", .value = 4, .limit = 2}},
      {refusal_of<std::uint16_t>(full), {.argument = "decode.embed_out", .value = 2, .limit = 4}},
      {refusal_of<float>(pointers), {.argument = "decode.batched_k_ptrs", .value = 8, .limit = 4}},
      {refusal_of<Block>(blocks), {.argument = "decode.logits", .value = 34, .limit = 34}},
      {refusal_of<std::uint16_t>(half, base + 64), {.argument = "base", .value = 64, .limit = 0}}};
  for (const auto& [refused, facts] : rows) {
    EXPECT_EQ(refused.argument(), facts.argument);
    EXPECT_EQ(refused.value(), facts.value);
    EXPECT_EQ(refused.limit(), facts.limit);
  }
  EXPECT_EQ(DecodeBuffers<std::uint16_t>(base, half).embed_out.size(), 1536U);
}

}  // namespace
}  // namespace tapedeck::tests
