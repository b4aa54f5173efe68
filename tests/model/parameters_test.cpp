// SPDX-License-Identifier: Apache-2.0
#include "model/parameter_collector.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "model/shapes.hpp"

namespace tapedeck::tests {
namespace {

// One layer of 4 query and 2 KV heads of size 16, and a table of 100 tokens.
constexpr std::uint64_t kHidden = 64;
constexpr std::uint64_t kTable = 100 * kHidden;
constexpr std::uint64_t kProjections = (64 + 32 + 32 + 64) * kHidden;
constexpr std::uint64_t kGated = 3ULL * 96 * kHidden;
constexpr std::uint64_t kPlain = 2ULL * 96 * kHidden;
constexpr std::uint64_t kNorm = kHidden;

constexpr std::string_view kFigures =
    "hidden_size=64 num_hidden_layers=1 num_attention_heads=4 vocab_size=100 num_key_value_heads=2 "
    "intermediate_size=96 max_position_embeddings=10";

ModelShape shape_of(std::string_view architecture, std::string_view more = "") {
  return shape_of_words(architecture, std::string(kFigures) + " " + std::string(more));
}

/// A small model, and its parameters computed by hand.
struct Reckoned {
  std::string_view architecture;
  std::string_view more;
  std::uint64_t parameters;
};

std::ostream& operator<<(std::ostream& out, const Reckoned& model) {
  return out << model.architecture << ' ' << model.more;
}

// Experts: a router of 4 rows, 4 experts of width 8.
constexpr std::string_view kMoe = "num_experts=4 num_experts_per_tok=2 moe_intermediate_size=8";
constexpr std::uint64_t kRouter = 4 * kHidden;
constexpr std::uint64_t kExperts = 4ULL * 3 * 8 * kHidden;

// A recurrent branch of width 128 with a state of 16 and a time step of rank 4.
constexpr std::string_view kScan =
    "state_size=16 conv_kernel=4 expand=2 time_step_rank=4 head_dim=16";
constexpr std::uint64_t kMamba1 = 2ULL * 128 * kHidden + 128ULL * 4 + 128 + (4 + 2ULL * 16) * 128 +
                                  (128ULL * 4 + 128) + 128ULL * 16 + 128 + kHidden * 128;
// 8 heads of 16, and one group.
constexpr std::uint64_t kMamba2 = (2ULL * 128 + 2ULL * 16 + 8) * kHidden +
                                  (128 + 2ULL * 16) * (4 + 1) + 3ULL * 8 + 128 + kHidden * 128;

constexpr Reckoned kReckoned[] = {
    // Norms, biases, ties, positions.
    {"llama", "", 2 * kTable + kProjections + kGated + 3 * kNorm},
    {"llama", "tie_word_embeddings=true", kTable + kProjections + kGated + 3 * kNorm},
    {"llama", "attention_bias=true", 2 * kTable + kProjections + 192 + kGated + 3 * kNorm},
    {"llama", "mlp_bias=true",
     2ULL * kTable + kProjections + kGated + 2ULL * 96 + 64 + 3ULL * kNorm},
    {"llama", "head_dim=32", 2 * kTable + 2 * kProjections + kGated + 3 * kNorm},
    {"qwen2", "attention_bias=true", 2 * kTable + kProjections + 128 + kGated + 3 * kNorm},
    {"cohere", "", kTable + kProjections + kGated + 2 * kNorm},
    {"cohere2", "", kTable + kProjections + kGated + 2 * kNorm},
    {"glm4", "", 2 * kTable + kProjections + kGated + 5 * kNorm},
    {"exaone4", "", 2ULL * kTable + kProjections + 2ULL * 16 + kGated + 3ULL * kNorm},
    {"olmo2", "", 2 * kTable + kProjections + 64 + 32 + kGated + 3 * kNorm},
    {"nemotron", "", 2 * kTable + kProjections + kPlain + 6 * kNorm},
    {"starcoder2", "", kTable + kProjections + 192 + kPlain + 96 + 64 + 6 * kNorm},
    {"gpt2", "", kTable + 10 * kHidden + kProjections + 192 + kPlain + 96 + 64 + 6 * kNorm},
    {"opt", "", kTable + 12 * kHidden + kProjections + 192 + kPlain + 96 + 64 + 6 * kNorm},
    // A table of width 24, with projections to and from it, and no norm after the last layer.
    {"opt", "word_embed_proj_dim=24 do_layer_norm_before=false",
     100ULL * 24 + 2ULL * 24 * kHidden + 12 * kHidden + kProjections + 192 + kPlain + 96 + 64 +
         4 * kNorm},
    {"opt", "word_embed_proj_dim=64 _remove_final_layer_norm=true",
     kTable + 12 * kHidden + kProjections + 192 + kPlain + 96 + 64 + 4 * kNorm},
    {"falcon", "parallel_attn=true", kTable + kProjections + kPlain + 4 * kNorm},
    {"falcon", "parallel_attn=true new_decoder_architecture=true",
     kTable + kProjections + kPlain + 6 * kNorm},
    {"glm4_moe", "use_qk_norm=true",
     2ULL * kTable + kProjections + 2ULL * 16 + kGated + 3ULL * kNorm},
    {"olmo", "", 2 * kTable + kProjections + kGated},
    {"seed_oss", "attention_bias=true", 2 * kTable + kProjections + 128 + kGated + 3 * kNorm},
    {"ernie4_5", "", kTable + kProjections + kGated + 3 * kNorm},
    // 10 positions, 2 kinds of tokens, 6 norms with biases, a pooler.
    {"bert", "",
     kTable + 12 * kHidden + kProjections + 192 + kPlain + 96 + 64 + 6 * kNorm + 65ULL * kHidden},
    // The only layer attends to an image; 8 more rows of embedding.
    {"mllama_text_model", "cross_attention_layers=[0]",
     2 * kTable + 8 * kHidden + kProjections + 2ULL * 16 + 2 + kGated + 3 * kNorm},
    // K of 24 and V of 12; windowed layers have 2 KV heads of 20 and 10, and a sink for each head.
    {"mimo_v2_flash",
     "num_hidden_layers=2 head_dim=24 v_head_dim=12 swa_num_key_value_heads=1 swa_head_dim=20 "
     "swa_v_head_dim=10 sliding_window=4 hybrid_layer_pattern=[0,1] "
     "add_swa_attention_sink_bias=true add_full_attention_sink_bias=false",
     2ULL * kTable + (96ULL + 48 + 24 + 48) * kHidden + (80ULL + 20 + 10 + 40) * kHidden + 4 +
         2 * kGated + 5 * kNorm},
    // Four norms per layer, two of them per head; 5 input dimensions for each layer from 30 rows.
    {"gemma4_text", "hidden_size_per_layer_input=5 vocab_size_per_layer_input=30",
     kTable + kProjections + 2ULL * 16 + kGated + 5 * kNorm + 30ULL * 5 + 5ULL * kHidden + 5 +
         2ULL * 5 * kHidden + kNorm},
    // The second of two layers reads the first one's cache, and is twice as wide.
    {"gemma4_text", "num_hidden_layers=2 num_kv_shared_layers=1 use_double_wide_mlp=true",
     kTable + 2 * (kProjections + 2ULL * 16) + 3 * kGated + 9 * kNorm},
    {"gemma4_text", "layer_types=['full_attention'] attention_k_eq_v=true",
     kTable + kProjections - 32 * kHidden + 2ULL * 16 + kGated + 5 * kNorm},
    {"gemma3n_text",
     "head_dim=16 hidden_size_per_layer_input=5 vocab_size_per_layer_input=30 altup_num_inputs=3 "
     "laurel_rank=7",
     kTable + kProjections + 2ULL * 16 + kGated + 5 * kNorm + 30ULL * 5 + 5ULL * kHidden + 5 +
         2ULL * 5 * kHidden + kNorm + 4ULL * kHidden* kHidden + 9 + 27 + 3 * kHidden + kNorm +
         kHidden + 2ULL * 7 * kHidden + kNorm},
    // Experts.
    {"mixtral", kMoe, 2 * kTable + kProjections + kRouter + kExperts + 3 * kNorm},
    {"olmoe", kMoe, 2 * kTable + kProjections + 96 + kRouter + kExperts + 3 * kNorm},
    {"granitemoe", kMoe, kTable + kProjections + kRouter + kExperts + 3 * kNorm},
    {"glm4_moe", kMoe, 2 * kTable + kProjections + kRouter + 4 + kExperts + 3 * kNorm},
    {"qwen2_moe",
     "num_experts=4 num_experts_per_tok=2 moe_intermediate_size=8 "
     "shared_expert_intermediate_size=24",
     2ULL * kTable + kProjections + 128 + kRouter + kExperts + 3ULL * 24 * kHidden + kHidden +
         3ULL * kNorm},
    {"llama4", "num_local_experts=4 num_experts_per_tok=1 intermediate_size_mlp=50",
     2 * kTable + kProjections + kRouter + 4 * kGated + kGated + 3 * kNorm},
    // Low-rank projections.
    {"deepseek_v3",
     "kv_lora_rank=8 q_lora_rank=12 qk_rope_head_dim=4 qk_nope_head_dim=6 v_head_dim=5",
     2ULL * kTable + 12ULL * kHidden + 12 + 4ULL * 10 * 12 + 12ULL * kHidden + 8 + 4ULL * 11 * 8 +
         4ULL * 5 * kHidden + kGated + 3ULL * kNorm},
    {"deepseek_v2", "kv_lora_rank=8 qk_rope_head_dim=4 qk_nope_head_dim=6 v_head_dim=5",
     2ULL * kTable + 4ULL * 10 * kHidden + 12ULL * kHidden + 8 + 4ULL * 11 * 8 +
         4ULL * 5 * kHidden + kGated + 3 * kNorm},
    // Recurrent branches.
    {"mamba", "intermediate_size=null state_size=16 time_step_rank=4",
     kTable + kMamba1 + 2 * kNorm},
    {"mamba2", kScan, kTable + kMamba2 + kGated + 3 * kNorm},
    {"jamba", "mamba_d_state=16 mamba_dt_rank=4 attn_layer_period=2 attn_layer_offset=1",
     2ULL * kTable + kMamba1 + 4 + 2ULL * 16 + kGated + 3ULL * kNorm},
    {"granitemoehybrid", "mamba_d_state=16 mamba_d_head=16 layer_types=['mamba']",
     kTable + kMamba2 + kGated + 3 * kNorm},
    // In addition to attention, without a norm of its own unless the config says so.
    {"falcon_h1", "mamba_d_ssm=128 mamba_d_state=16 mamba_n_heads=8 mamba_d_head=16",
     2 * kTable + kProjections + kMamba2 - 128 + kGated + 3 * kNorm},
    {"falcon_h1",
     "mamba_d_ssm=128 mamba_d_state=16 mamba_n_heads=8 mamba_d_head=16 mamba_rms_norm=true",
     2 * kTable + kProjections + kMamba2 + kGated + 3 * kNorm},
    {"lfm2", "conv_L_cache=3 layer_types=['conv']",
     kTable + 4 * kHidden* kHidden + 3 * kHidden + kGated + 3 * kNorm},
    {"qwen3_next",
     "linear_num_value_heads=4 linear_value_head_dim=8 linear_num_key_heads=2 "
     "linear_key_head_dim=8 layer_types=['linear_attention']",
     2ULL * kTable + (32 + 64) * kHidden + 8ULL * kHidden + 64ULL * 4 + 2ULL * 4 + 8 +
         kHidden * 32 + kGated + 3 * kNorm},
    {"qwen3_next", "layer_types=['full_attention']",
     2ULL * kTable + kProjections + 64ULL * kHidden + 2ULL * 16 + kGated + 3ULL * kNorm},
};

class Parameters : public testing::TestWithParam<Reckoned> {};

TEST_P(Parameters, AreCounted) {
  EXPECT_EQ(shape_of(GetParam().architecture, GetParam().more).parameter_count(),
            GetParam().parameters);
}

INSTANTIATE_TEST_SUITE_P(ByHand, Parameters, testing::ValuesIn(kReckoned));

/// The figures of published models, and the number of parameters that their pages state.
constexpr Reckoned kPublished[] = {
    {"bert",
     "hidden_size=768 num_hidden_layers=12 num_attention_heads=12 intermediate_size=3072 "
     "vocab_size=30522 max_position_embeddings=512 type_vocab_size=2",
     109'482'240},  // BERT base, as an encoder
    {"olmo",
     "hidden_size=4096 num_hidden_layers=32 num_attention_heads=32 intermediate_size=11008 "
     "vocab_size=50304",
     6'888'095'744},  // OLMo 7B
    {"falcon_h1",
     "hidden_size=1024 num_hidden_layers=36 num_attention_heads=8 num_key_value_heads=2 "
     "head_dim=64 intermediate_size=2048 vocab_size=32784 mamba_d_ssm=1536 mamba_d_state=128 "
     "mamba_n_groups=1 mamba_n_heads=24 mamba_d_head=64 mamba_d_conv=4 mamba_rms_norm=false "
     "tie_word_embeddings=false",
     521'411'104},  // Falcon-H1 0.5B
    {"seed_oss",
     "hidden_size=5120 num_hidden_layers=64 num_attention_heads=80 num_key_value_heads=8 "
     "head_dim=128 intermediate_size=27648 vocab_size=155136 attention_bias=true "
     "attention_out_bias=false tie_word_embeddings=false",
     36'151'104'512},  // Seed-OSS 36B
    {"ernie4_5",
     "hidden_size=1024 num_hidden_layers=18 num_attention_heads=16 num_key_value_heads=2 "
     "head_dim=128 intermediate_size=3072 vocab_size=103424 tie_word_embeddings=true",
     360'748'032},  // ERNIE 4.5 0.3B
    {"rwkv7",
     "hidden_size=2048 num_hidden_layers=24 head_dim=64 intermediate_size=8192 vocab_size=65536 "
     "decay_low_rank_dim=96 a_low_rank_dim=96 v_low_rank_dim=64 gate_low_rank_dim=256",
     1'527'404'544},  // RWKV-7 World 1.5B
    {"rwkv7",
     "hidden_size=768 num_hidden_layers=12 head_dim=64 intermediate_size=3072 vocab_size=65536",
     191'034'624},  // with the ranks of its own code
    {"baichuan",
     "hidden_size=4096 num_hidden_layers=32 num_attention_heads=32 intermediate_size=11008 "
     "vocab_size=64000",
     7'000'559'616},  // Baichuan 7B
    {"opt",
     "hidden_size=1024 num_hidden_layers=24 num_attention_heads=16 ffn_dim=4096 vocab_size=50272 "
     "max_position_embeddings=2048 word_embed_proj_dim=512 do_layer_norm_before=false",
     331'196'416},  // OPT 350M
};

class PublishedParameters : public testing::TestWithParam<Reckoned> {};

TEST_P(PublishedParameters, AreCounted) {
  const ModelShape shape = shape_of_words(GetParam().architecture, GetParam().more);
  EXPECT_EQ(shape.parameter_count(), GetParam().parameters);
  EXPECT_TRUE(shape.exact());
}

INSTANTIATE_TEST_SUITE_P(Models, PublishedParameters, testing::ValuesIn(kPublished));

// If a dense part is combined with experts, no rule here covers everything.
TEST(ParameterList, IsEmptyForTheGemma4WithExperts) {
  EXPECT_TRUE(shape_of("gemma4_text", "enable_moe_block=true").parameters.empty());
}

TEST(ParameterList, TensorsOfOneNameAndShapeAreOneLine) {
  const ModelShape shape = shape_of("llama", "num_hidden_layers=3 tie_word_embeddings=true");
  std::size_t queries = 0;
  for (const Parameter& part : shape.parameters) {
    if (part.name != "layers.attention.q") continue;
    ++queries;
    EXPECT_EQ(part.kind, ParameterKind::matrix);
    EXPECT_EQ(part.count, 3U);
    EXPECT_EQ(part.rows, 64U);
    EXPECT_EQ(part.columns, kHidden);
  }
  EXPECT_EQ(queries, 1U);
  EXPECT_EQ(shape.parameters.size(), 9U);  // embedding, two norms, q, k, v, output, ffn, down
}

TEST(ParameterList, KindsTellWhatQuantisationTreatsApart) {
  const ModelShape shape =
      shape_of("phimoe", "num_local_experts=4 num_experts_per_tok=2 attention_bias=true");
  std::string kinds;
  for (const ParameterKind kind :
       {ParameterKind::embedding, ParameterKind::head, ParameterKind::norm, ParameterKind::bias,
        ParameterKind::matrix, ParameterKind::expert, ParameterKind::other}) {
    std::uint64_t elements = 0;
    for (const Parameter& part : shape.parameters) {
      if (part.kind == kind) elements += part.count * part.rows * part.columns;
    }
    kinds += std::to_string(elements) + " ";
  }
  EXPECT_EQ(kinds, "6400 6400 192 484 12544 73728 0 ");
}

TEST(ParameterCount, IsNothingWithoutPartsOrWhereItOverflows) {
  ModelShape shape;
  EXPECT_EQ(shape.parameter_count(), std::nullopt);
  shape.parameters = {{"a", ParameterKind::matrix, 2, 3, 4}, {"b", ParameterKind::norm, 1, 1, 5}};
  EXPECT_EQ(shape.parameter_count(), 29U);
  shape.parameters[0].count = ~std::uint64_t{0};
  EXPECT_EQ(shape.parameter_count(), std::nullopt);
  shape.parameters = {{"a", ParameterKind::norm, 1, 1, ~std::uint64_t{0}},
                      {"b", ParameterKind::norm, 1, 1, 1}};
  EXPECT_EQ(shape.parameter_count(), std::nullopt);
}

}  // namespace
}  // namespace tapedeck::tests
