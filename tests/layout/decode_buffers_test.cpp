#include "tapedeck/layout/decode_buffers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "model/shared_data.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/device/host_device.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/read_model.hpp"
#include "tapedeck/plan/decode_buffers_plan.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;

/// An address for buffers that nobody writes to.
std::byte* const kAnywhere = reinterpret_cast<std::byte*>(std::uintptr_t{1} << 20U);

/// A buffer, whatever its elements are.
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

/// Those that are not empty.
template <class Buffers>
std::vector<Buffer> present_in(const Buffers& buffers) {
  std::vector<Buffer> all = list_of(buffers);
  std::erase_if(all, [](const Buffer& buffer) { return buffer.elements == 0; });
  return all;
}

/// What the table of U4 says of one model.
struct Figures {
  std::uint64_t hidden;
  std::uint64_t heads;
  std::uint64_t kv_heads;
  std::uint64_t head_dim;
  std::uint64_t ffn;
  std::uint64_t vocabulary;
};

std::map<std::string, std::uint64_t> elements_of_u4(const Figures& f, std::uint64_t batch,
                                                    bool int4_weights) {
  const std::uint64_t q = f.heads * f.head_dim;
  const std::uint64_t kv = f.kv_heads * f.head_dim;
  std::map<std::string, std::uint64_t> table = {
      {"embed_out", batch * f.hidden},
      {"norm_out", batch * f.hidden},
      {"qkv_out", batch * (q + 2 * kv)},
      {"q_rotated", batch * q},
      {"k_rotated", batch * kv},
      {"rope_q_temp", batch * q},
      {"rope_k_temp", batch * kv},
      {"attn_out", batch * q},
      {"o_proj_out", batch * f.hidden},
      {"residual", batch * f.hidden},
      {"post_norm_out", batch * f.hidden},
      {"post_norm_residual", batch * f.hidden},
      {"gate_up_out", batch * 2 * f.ffn},
      {"mlp_act", batch * f.ffn},
      {"down_out", batch * f.hidden},
      {"final_norm_out", batch * f.hidden},
      {"logits", batch * f.vocabulary},
      {"scratch_attn", q},
      {"batched_k_ptrs", batch},
      {"batched_v_ptrs", batch},
      {"batched_kv_lens", batch},
      {"batched_positions", batch},
      {"flash_partial_out", f.heads * 32 * f.head_dim},
      {"flash_partial_m", f.heads * 32},
      {"flash_partial_l", f.heads * 32},
  };
  if (int4_weights) table["temp_dequant"] = f.hidden * 2 * f.ffn;
  return table;
}

std::uint64_t element_bytes_of(const std::string& name, std::uint64_t activation) {
  if (name == "batched_k_ptrs" || name == "batched_v_ptrs") return 8;
  const bool words = name == "batched_kv_lens" || name == "batched_positions" ||
                     name.starts_with("flash_partial_") || name == "router_logits" ||
                     name == "expert_ids" || name == "expert_weights";
  return words ? 4 : activation;
}

/// Of a model that the table speaks of: dense, with all layers alike.
bool is_dense(const ModelShape& shape) {
  if (shape.layers.empty() || shape.encoder) return false;
  const LayerShape& first = shape.layers.front();
  const bool gqa = first.attention != Attention::none && first.attention != Attention::latent &&
                   first.key_dim == first.value_dim;
  const bool ffn = first.ffn != 0 && first.experts == 0 && first.shared_ffn == 0;
  return gqa && ffn && first.recurrence == Recurrence::none &&
         std::all_of(shape.layers.begin(), shape.layers.end(), [&](const LayerShape& layer) {
           return layer.recurrence == Recurrence::none && layer.attention != Attention::none &&
                  layer.attention != Attention::latent && layer.experts == 0 &&
                  std::tie(layer.heads, layer.kv_heads, layer.key_dim, layer.value_dim,
                           layer.ffn) == std::tie(first.heads, first.kv_heads, first.key_dim,
                                                  first.value_dim, first.ffn);
         });
}

Figures figures_of(const ModelShape& shape) {
  const LayerShape& layer = shape.layers.front();
  return {.hidden = shape.hidden,
          .heads = layer.heads,
          .kv_heads = layer.kv_heads,
          .head_dim = layer.key_dim,
          .ffn = layer.ffn,
          .vocabulary = shape.vocabulary};
}

bool has_dense_or_expert_ffn(const ModelShape& shape) {
  return std::any_of(shape.layers.begin(), shape.layers.end(), [](const LayerShape& layer) {
    return layer.ffn != 0 || layer.shared_ffn != 0 || layer.expert_ffn != 0;
  });
}

template <class Element>
constexpr DType kTypeOf = std::is_same_v<Element, float> ? DType::f32 : DType::f16;

/// Checks what holds of the buffers of every model.
template <class Element, class Buffers>
void expect_sound(const Buffers& buffers, const TapePlan& plan, std::byte* base) {
  std::vector<Buffer> all = present_in(buffers);
  EXPECT_EQ(all.size(), plan.regions().size());
  std::uint64_t sum = 0;
  for (const Buffer& buffer : all) {
    const Region* region = plan.find("decode." + buffer.name);
    ASSERT_NE(region, nullptr) << buffer.name;
    EXPECT_EQ(buffer.at, base + region->offset) << buffer.name;
    EXPECT_EQ(buffer.bytes, region->bytes) << buffer.name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.at) % 256, 0U) << buffer.name;
    EXPECT_EQ(buffer.bytes, buffer.elements * element_bytes_of(buffer.name, sizeof(Element)))
        << buffer.name;
    sum += buffer.bytes;
  }
  EXPECT_EQ(buffers.memory_bytes(), sum);
  EXPECT_EQ(buffers.memory_bytes(), plan.payload());

  std::sort(all.begin(), all.end(), [](const Buffer& a, const Buffer& b) { return a.at < b.at; });
  const std::byte* end = base;
  for (const Buffer& buffer : all) {
    EXPECT_GE(buffer.at, end) << buffer.name;
    end = buffer.at + buffer.bytes;
  }
  EXPECT_LE(end, base + plan.bytes());
}

template <class Buffers>
void expect_table(const Buffers& buffers, const std::map<std::string, std::uint64_t>& table) {
  std::map<std::string, std::uint64_t> elements;
  for (const Buffer& buffer : present_in(buffers)) elements[buffer.name] = buffer.elements;
  EXPECT_EQ(elements, table);
}

/// A tape over addresses with nothing behind them: no host has the memory of every model.
DeviceTape tape_of_addresses(Device& device, const DeviceBlock& addresses) {
  return DeviceTape::over(DeviceBlock::borrow(device, {addresses.data(), addresses.size()}));
}

template <class Element>
std::vector<Buffer> check_on_device(const TapePlan& plan) {
  HostDevice device;
  PagePool pool(device);
  const DeviceBlock addresses = DeviceBlock::reserve(pool, plan.bytes() + 4_KiB);
  DeviceTape scratch = tape_of_addresses(device, addresses);
  std::byte* const base = scratch.take<std::byte>(plan.bytes()).data();
  scratch.raise_floor();
  const DecodeBuffers<Element> buffers(base, plan);
  expect_sound<Element>(buffers, plan, scratch.data());
  const std::size_t planned = round_up(plan.bytes(), kDeviceLine);  // a take is of whole lines
  EXPECT_EQ(scratch.floor(), planned);
  for (int pass = 0; pass < 3; ++pass) {
    EXPECT_EQ(scratch.used(), planned);
    EXPECT_EQ(scratch.take(1_KiB), base + planned);
    scratch.clear();
    EXPECT_EQ(list_of(DecodeBuffers<Element>(scratch.data(), plan)), list_of(buffers));
  }
  EXPECT_EQ(scratch.used(), planned);
  return list_of(buffers);
}

template <class Element>
HostDecodeBuffers<Element> check_on_host(const TapePlan& plan) {
  Plan whole;
  whole.scratch = plan;
  Layout layout(whole, {.commit = Commit::nothing});
  const HostDecodeBuffers<Element> buffers(layout.scratch().data(), layout.plan().scratch);
  expect_sound<Element>(buffers, plan, layout.scratch().data());
  EXPECT_EQ(layout.scratch().floor(), plan.bytes());
  for (int pass = 0; pass < 3; ++pass) {
    EXPECT_EQ(layout.scratch().used(), plan.bytes());
    layout.clear_pass();
  }
  EXPECT_EQ(layout.scratch().used(), plan.bytes());
  EXPECT_EQ(buffers.logits.empty(), plan.find("decode.logits") == nullptr);
  return buffers;
}

template <class Element>
void check_model(const ModelShape& shape, std::uint64_t batch, bool int4_weights) {
  SCOPED_TRACE("batch " + std::to_string(batch) + (int4_weights ? ", int4" : ""));
  const TapePlan plan = plan_decode_buffers(
      shape, {.batch = batch, .element = kTypeOf<Element>, .int4_weights = int4_weights});
  const HostDecodeBuffers<Element> host = check_on_host<Element>(plan);
  const std::vector<Buffer> device = check_on_device<Element>(plan);
  EXPECT_EQ(host.temp_dequant.empty(), !(int4_weights && has_dense_or_expert_ffn(shape)));
  if (is_dense(shape)) expect_table(host, elements_of_u4(figures_of(shape), batch, int4_weights));

  const std::vector<Buffer> all = list_of(host);
  ASSERT_EQ(device.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(device[i].name, all[i].name);
    EXPECT_EQ(device[i].bytes, all[i].bytes) << all[i].name;
  }
}

TEST(DecodeBuffers, OfEverySharedModelAreThePlans) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  std::size_t dense = 0;
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const ModelShape shape = read_model(shared_data("configs") / row.at("file")).shape;
    EXPECT_FALSE(shape.layers.empty());
    if (is_dense(shape)) ++dense;
    for (const std::uint64_t batch : {1U, 4U, 64U}) {
      for (const bool int4 : {false, true}) {
        check_model<std::uint16_t>(shape, batch, int4);
        check_model<float>(shape, batch, int4);
      }
    }
  }
  EXPECT_GE(dense, 30U);
}

// 12 heads and 2 of K and V of 128; 199'808 elements of activations a token.
TEST(DecodeBuffers, OfQwen2AreThoseOfTheTable) {
  const ModelShape shape = qwen2_1_5b().shape;
  constexpr Figures kQwen2 = {.hidden = 1536,
                              .heads = 12,
                              .kv_heads = 2,
                              .head_dim = 128,
                              .ffn = 8960,
                              .vocabulary = 151'936};
  const TapePlan one = plan_decode_buffers(shape, {});
  const HostDecodeBuffers<std::uint16_t> buffers(kAnywhere, one);
  EXPECT_EQ(buffers.embed_out.size(), 1536U);
  EXPECT_EQ(buffers.qkv_out.size(), 2048U);
  EXPECT_EQ(buffers.k_rotated.size(), 256U);
  EXPECT_EQ(buffers.gate_up_out.size(), 17'920U);
  EXPECT_EQ(buffers.logits.size(), 151'936U);
  EXPECT_EQ(buffers.batched_k_ptrs.size(), 1U);
  EXPECT_EQ(buffers.flash_partial_out.size(), 49'152U);
  EXPECT_EQ(buffers.flash_partial_l.size(), 384U);
  // Activations, pointers, lengths and positions, partial results of flash decoding.
  EXPECT_EQ(buffers.memory_bytes(), 399'616U + 16 + 8 + 196'608 + 2 * 1536);
  expect_table(buffers, elements_of_u4(kQwen2, 1, false));

  const TapePlan four = plan_decode_buffers(shape, {.batch = 4, .int4_weights = true});
  const DecodeBuffers<std::uint16_t> more(kAnywhere, four);
  EXPECT_EQ(more.temp_dequant.size(), 27'525'120U);  // 1536 × 17'920
  expect_table(more, elements_of_u4(kQwen2, 4, true));
  // Of one token's activations scratch_attn, 1536 elements, does not come with each token.
  EXPECT_EQ(more.memory_bytes(),
            4 * (399'616U - 3072) + 3072 + 55'050'240 + 4 * 16 + 4 * 8 + 196'608 + 2 * 1536);
}

/// A model that has every buffer.
ModelShape shape_with_everything() {
  LayerShape experts = attention_layer(4, 2, 16, 0);
  experts.experts = 8;
  experts.experts_used = 3;
  experts.expert_ffn = 40;
  return model_of({attention_layer(4, 2, 16, 200), experts, mamba2_layer()}, 72, 999).shape;
}

TEST(DecodeBuffers, AreAllThere) {
  const TapePlan plan = plan_decode_buffers(
      shape_with_everything(), {.batch = 2, .int4_weights = true, .score_columns = 48});
  EXPECT_EQ(plan.find("decode.scores")->bytes, std::size_t{2} * 48 * sizeof(float));
  const DecodeBuffers<std::uint16_t> buffers(kAnywhere, plan);
  EXPECT_EQ(present_in(buffers).size(), list_of(buffers).size());
  EXPECT_EQ(plan.regions().size(), list_of(buffers).size());
  EXPECT_EQ(buffers.router_logits.size(), 2U * 8);
  EXPECT_EQ(buffers.expert_ids.size(), 2U * 3);
  EXPECT_EQ(buffers.expert_weights.size(), 2U * 3);
  EXPECT_EQ(buffers.expert_out.size(), 2U * 3 * 72);
  EXPECT_EQ(buffers.recurrent_in.size(), 2U * (3072 + 3072 + 256));
  EXPECT_EQ(buffers.recurrent_conv.size(), 2U * (3072 + 256));
  EXPECT_EQ(buffers.recurrent_out.size(), 2U * 3072);
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

bool holds(const Buffer& buffer, std::byte value) {
  return std::all_of(buffer.at, buffer.at + buffer.bytes,
                     [&](std::byte byte) { return byte == value; });
}

std::byte byte_of_pass(std::size_t buffer, int pass) {
  return static_cast<std::byte>(1 + buffer * 5 + static_cast<std::size_t>(pass));
}

/// In each pass one buffer after the other is written, and takes above the floor too. Nothing but
/// that buffer may change.
template <class Tape, class Fill, class Clear>
void expect_apart(Tape& scratch, const std::vector<Buffer>& all, Fill fill, Clear clear) {
  constexpr int kPasses = 3;
  for (int pass = 0; pass < kPasses; ++pass) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      fill(static_cast<std::byte*>(scratch.take(1000)), std::byte{0xFF}, 1000);
      fill(all[i].at, byte_of_pass(i, pass), all[i].bytes);
      clear();
      for (std::size_t j = 0; j < all.size(); ++j) {
        if (j > i && pass == 0) break;  // not written yet
        EXPECT_TRUE(holds(all[j], byte_of_pass(j, j <= i ? pass : pass - 1)))
            << all[j].name << " when " << all[i].name << " was written in pass " << pass;
      }
    }
  }
}

TEST(DecodeBuffers, DoNotTouchEachOtherOnADevice) {
  const TapePlan plan = plan_decode_buffers(
      shape_with_everything(), {.batch = 3, .int4_weights = true, .score_columns = 40});
  HostDevice device;
  const DeviceStream stream(device);
  DeviceTape scratch = DeviceTape::start(device, plan.bytes() + 4_KiB);
  const DecodeBuffers<std::uint16_t> buffers(scratch.take<std::byte>(plan.bytes()).data(), plan);
  scratch.raise_floor();
  const std::vector<Buffer> all = list_of(buffers);
  const auto fill = [&](std::byte* at, std::byte value, std::size_t bytes) {
    device.fill(at, value, bytes, stream.handle());
  };
  expect_apart(scratch, all, fill, [&] {
    stream.synchronize();
    scratch.clear();
  });
  EXPECT_EQ(list_of(DecodeBuffers<std::uint16_t>(scratch.data(), plan)), all);
}

TEST(DecodeBuffers, DoNotTouchEachOtherOnTheHost) {
  Plan plan;
  plan.scratch = plan_decode_buffers(
      shape_with_everything(),
      {.batch = 3, .element = DType::f32, .int4_weights = true, .score_columns = 40});
  Layout layout(plan, {.extra = {.weights = 0, .scratch = 4_KiB, .history = 0}});
  const HostDecodeBuffers<float> buffers(layout.scratch().data(), layout.plan().scratch);
  const auto fill = [](std::byte* at, std::byte value, std::size_t bytes) {
    std::memset(at, static_cast<int>(value), bytes);
  };
  expect_apart(layout.scratch(), list_of(buffers), fill, [&] {
    layout.clear_pass();
    EXPECT_EQ(layout.scratch().used(), layout.plan().scratch.bytes());
  });
  buffers.logits.back() = 0.5F;  // spans, for the host to write
  EXPECT_EQ(buffers.memory_bytes(), plan.scratch.payload());
}

// A whole plan lays the buffers of a prefill over those of decode.
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
std::string refusal_of(const TapePlan& plan, std::byte* base = kAnywhere) {
  try {
    static_cast<void>(DecodeBuffers<Element>(base, plan));
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "none";
}

TEST(DecodeBuffers, RefuseElementsOfAnotherSize) {
  const ModelShape shape = qwen2_1_5b().shape;
  const TapePlan half = plan_decode_buffers(shape, {.element = DType::bf16});
  const TapePlan full = plan_decode_buffers(shape, {.element = DType::f32});
  EXPECT_THAT(refusal_of<float>(half),
              HasSubstr("region decode.embed_out of bf16 as elements of 4 bytes"));
  EXPECT_THAT(refusal_of<std::uint16_t>(full),
              HasSubstr("region decode.embed_out of f32 as elements of 2 bytes"));
  EXPECT_EQ(refusal_of<std::uint16_t>(half), "none");
  EXPECT_EQ(refusal_of<float>(full), "none");
}

// Also where the type does not follow from the element's; and q8_0 has blocks of 34 bytes.
TEST(DecodeBuffers, RefuseRegionsOfAnotherType) {
  TapePlan pointers(TapeKind::scratch);
  pointers.append({.name = "decode.batched_k_ptrs", .bytes = 16, .dtype = DType::u32});
  EXPECT_THAT(refusal_of<float>(pointers), HasSubstr("decode.batched_k_ptrs of u32"));
  struct Block {
    char bytes[34];
  };
  TapePlan blocks(TapeKind::scratch);
  blocks.append({.name = "decode.logits", .bytes = 68, .dtype = DType::q8_0});
  EXPECT_THAT(refusal_of<Block>(blocks), HasSubstr("decode.logits of q8_0"));
}

TEST(DecodeBuffers, RefuseABaseThatIsLessAligned) {
  const TapePlan plan = plan_decode_buffers(qwen2_1_5b().shape, {});
  alignas(256) std::byte base[256];
  EXPECT_EQ(refusal_of<std::uint16_t>(plan, base), "none");
  EXPECT_THAT(refusal_of<std::uint16_t>(plan, base + 64),
              HasSubstr("region decode.embed_out would not be aligned to 256 bytes"));
}

}  // namespace
}  // namespace tapedeck::tests
