// SPDX-License-Identifier: Apache-2.0
// Fields of a file that bear on a size and that no rule uses are named, and the size is not exact.
#include "model/unused_fields.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/architectures.hpp"
#include "model/config/json_config.hpp"
#include "model/shapes.hpp"
#include "model/shared_data.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

/// The unused fields by what they bear on: "the weights: a, b; the caches: c".
std::string unused_in(const ModelShape& shape) {
  constexpr std::string_view kBegin = "fields that may bear on ";
  constexpr std::string_view kMiddle = " are not used";
  std::string all;
  for (const std::string& warning : shape.warnings) {
    if (!warning.starts_with(kBegin)) continue;
    std::string text = warning.substr(kBegin.size());
    text.erase(text.find(kMiddle), kMiddle.size());
    all += (all.empty() ? "" : "; ") + text;
  }
  return all;
}

/// Fields beside those of a small model, and what is said of them.
struct UnusedRow {
  const char* architecture;
  const char* entries;
  const char* unused;
};

constexpr UnusedRow kUnused[] = {
    {"llama", "tie_word_embeddings=true rope_theta=10000.0", ""},
    // Fields of other architectures.
    {"llama", "kv_lora_rank=8 qk_rope_head_dim=4",
     "the weights and the caches: kv_lora_rank, qk_rope_head_dim"},
    {"llama", "index_n_heads=4", "the weights: index_n_heads"},
    {"llama", "word_embed_proj_dim=32", "the weights: word_embed_proj_dim"},
    {"opt", "word_embed_proj_dim=32", ""},
    {"bert", "embedding_size=32", "the weights: embedding_size"},
    {"llama",
     "embed_dim=8 projection_dim=8 original_max_position_embeddings=8 embedding_multiplier=2",
     "the weights: embed_dim, projection_dim"},
    {"llama", "attention_chunk_size=16", "the caches: attention_chunk_size"},
    {"minimax_m2", "attn_type_list=[0,1,0,1]", "the weights and the caches: attn_type_list"},
    // Objects in which nothing is used are one field. Towers keep no caches.
    {"llama", "vision_config={'depth':4,'num_kv_heads':2}", "the weights: vision_config"},
    {"llama", "vision_config={'depth':4} audio_config=null audio_tower={}",
     "the weights: vision_config"},
    {"llama",
     "talker_config={'text_config':{'num_hidden_layers':2,'vocab_size':9},'x':{'ranks':1}}",
     "the weights and the caches: talker_config"},
    {"llama", "other={'eps':1,'x':{'y':2}}", ""},
    {"llama", "kv_compression={'enabled':true}", "the weights and the caches: kv_compression"},
    {"llama", "kv_compression={'enabled':null} kv_sharing={}", ""},
    {"llama", "quantization={'group_size':64,'bits':4}", "the weights: quantization"},
    {"llama",
     "quantization_config={'quant_method':'compressed-tensors','format':'float-quantized',"
     "'config_groups':{'group_0':{'weights':{'num_bits':8},'input_activations':{'num_bits':8}},"
     "'group_1':{'weights':{'num_bits':4}}}}",
     "the weights: quantization_config.config_groups.group_1"},
    // The planner names a method that it does not know.
    {"llama", "quantization_config={'quant_method':'sorcery','bits':3}", ""},
    // Values that state no size.
    {"llama", "num_nextn_predict_layers=1 mtp_layers_block_type=['attention']",
     "the weights: num_nextn_predict_layers, mtp_layers_block_type"},
    {"llama", "num_nextn_predict_layers=0 mtp_layers=[] kv_share=-1 latent=null window='all'", ""},
    {"llama", "moe_parallel=true use_kv_sharing=false", ""},
    {"llama", "kv_ratio=0.5", "the weights and the caches: kv_ratio"},
    // Names that bear on nothing.
    {"llama", "layer_norm_eps=1 attention_head_dropout=1 vision_token_id=7 lm_head_multiplier=2",
     ""},
    {"llama", "rope_scaling={'layers':[1,2]} num_experts_per_tok=2", ""},
    // What a rule has taken into account.
    {"qwen2", "use_sliding_window=false sliding_window=16 max_window_layers=2", ""},
    {"qwen3_moe", "num_experts=4 num_experts_per_tok=2 moe_intermediate_size=8", ""},
    {"qwen3_moe",
     "num_experts=4 num_experts_per_tok=2 moe_intermediate_size=8 first_k_dense_replace=1 "
     "mlp_layer_types=['dense','sparse','sparse','sparse']",
     ""},
    {"gpt_bigcode", "multi_query=true num_key_value_heads=8", ""},
    {"minimax_m2", "attn_type_list=[1,1,1,1]", ""},
    {"smollm3", "no_rope_layers=[1,1,1,0] no_rope_layer_interval=4", ""},
    {"gemma3_text", "sliding_window=16 sliding_window_pattern=2 _sliding_window_pattern=2", ""},
    {"falcon_h1",
     "mamba_d_ssm=32 mamba_d_head=8 mamba_n_heads=4 mamba_expand=2 mamba_d_state=4 "
     "mamba_chunk_size=128 ssm_multipliers=[1,2]",
     ""},
    {"llama",
     "quantization_config={'quant_method':'compressed-tensors','format':'pack-quantized',"
     "'config_groups':{'group_0':{'targets':['Linear'],'weights':{'num_bits':4,'group_size':32}}},"
     "'global_compression_ratio':1.9,'kv_cache_scheme':null,'ignore':['lm_head']}",
     ""},
    {"llama",
     "quantization_config={'quant_method':'gptq','bits':4,'group_size':32,'desc_act':true,"
     "'meta':{'quantizer':['a']},'dynamic':{'x':{'bits':8}}}",
     "the weights: quantization_config.dynamic"},
    // Several names of one figure.
    {"llama", "n_head=8", ""},
    {"llama", "n_head=4", "the weights and the caches: n_head"},
    {"llama", "text_config={'hidden_size':32,'num_attention_heads':4,'vocab_size':9}", ""},
    {"llama", "text_config={'hidden_size':32,'num_attention_heads':null}", ""},
    {"llama",
     "kv_0=1 kv_1=1 kv_2=1 kv_3=1 kv_4=1 kv_5=1 kv_6=1 kv_7=1 kv_8=1 kv_9=1 kv_a=1 kv_b=1 kv_c=1",
     "the weights and the caches: kv_0, kv_1, kv_2, kv_3, kv_4, kv_5, kv_6, kv_7, kv_8, kv_9, "
     "kv_a, kv_b and 1 more"},
};

TEST(UnusedFields, AreNamedByWhatTheyBearOn) {
  for (const UnusedRow& row : kUnused) {
    SCOPED_TRACE(std::string(row.architecture) + " " + row.entries);
    const ModelShape shape =
        shape_of_words(row.architecture,
                       "hidden_size=64 num_hidden_layers=4 num_attention_heads=8 vocab_size=100 "
                       "intermediate_size=96 " +
                           std::string(row.entries));
    const std::string_view unused = row.unused;
    EXPECT_EQ(unused_in(shape), unused);
    const auto says = [&](std::string_view part) {
      return unused.find(part) != std::string_view::npos;
    };
    EXPECT_EQ(shape.exact_weights, !says("the weights"));
    EXPECT_EQ(shape.exact_caches, !says("the caches"));
  }
}

// The tensors of a GGUF file are listed, so only its caches follow from its keys.
TEST(UnusedFields, OfAHeaderBearOnTheCaches) {
  MadeHeader header("llama", "block_count=2 embedding_length=64 attention.head_count=4");
  EXPECT_TRUE(header.shape().exact());
  header.with("expert_slots=3 attention.layer_norm_rms_epsilon=1");
  EXPECT_TRUE(header.shape().exact());
  header.with("attention.kv_lora_rank=8 ssm.state_size=4 ssm.inner_size=4");
  EXPECT_EQ(unused_in(header.shape()), "the caches: llama.attention.kv_lora_rank, llama.ssm");
  EXPECT_FALSE(header.shape().exact_caches);

  MadeHeader indexed(
      "deepseek32",
      "block_count=2 embedding_length=64 attention.head_count=4 "
      "attention.kv_lora_rank=8 attention.key_length_mla=12 attention.indexer.top_k=2 "
      "attention.indexer.head_count=4 attention.indexer.key_length=16");
  EXPECT_TRUE(indexed.shape().exact());
}

// If files list the tensors, the weights are what they list, but compute buffers follow from
// fields.
TEST(UnusedFields, OfAConfigBesideTensorsBearOnTheComputeBuffers) {
  const TempFolder folder;
  const Metadata metadata = internal::read_json_config(folder.write(
      "config.json",
      R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 9,)"
      R"( "num_attention_heads": 4, "moe_latent_size": 8, "kv_latent_size": 8})"));
  EXPECT_EQ(unused_in(internal::config_shape("config.json", metadata, true)),
            "the compute buffers: moe_latent_size; the caches: kv_latent_size");
}

/// All published configs and those of cases.
std::vector<std::filesystem::path> shared_configs() {
  std::vector<std::filesystem::path> files;
  for (const char* name : {"configs", "cases"}) {
    if (!std::filesystem::exists(shared_data(name))) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(shared_data(name))) {
      const std::string file = entry.path().filename().string();
      if (file.ends_with(".json") && !file.ends_with("index.json")) files.push_back(entry.path());
    }
  }
  return files;
}

// By folder and name. Every other file has no unused field.
const std::map<std::string, std::string> kUnusedInPublished = {
    {"E10/config.json", "the weights: share_expert_dim, num_nextn_predict_layers"},
    {"E12/config.json",
     "the weights: index_n_heads, num_nextn_predict_layers, o_lora_rank, q_lora_rank; the weights "
     "and the caches: qk_rope_head_dim"},
    {"E13/config.json",
     "the weights: index_n_heads, num_nextn_predict_layers, o_lora_rank, q_lora_rank; the weights "
     "and the caches: qk_rope_head_dim"},
    {"E14/config.json", "the weights: moe_latent_size, num_nextn_predict_layers"},
    {"E18/config.json", "the weights: vision_config"},
    {"E20/config.json", "the weights: text_config.vocab_size_per_layer_input, vision_config"},
    {"E22/config.json", "the weights: text_config.vocab_size_per_layer_input, vision_config"},
    {"E23/config.json", "the weights: quantization, quantization_config"},
    {"E33/config.json",
     "the weights: text_config.q_lora_rank; the weights and the caches: text_config.kv_lora_rank, "
     "text_config.qk_nope_head_dim, text_config.qk_rope_head_dim, text_config.qk_head_dim"},
    {"E35/config.json", "the weights: type_vocab_size"},
    {"E49/config.json",
     "the weights: vision_config; the weights and the caches: "
     "text_config.linear_num_value_heads, text_config.linear_num_key_heads, "
     "text_config.linear_key_head_dim, text_config.linear_value_head_dim"},
    {"E58/config.json",
     "the weights: text_config.q_lora_rank, text_config.routed_expert_hidden_size, vision_config"},
    {"E65/config.json", "the weights and the caches: attn_type_list"},
    {"configs/LiquidAI--LFM2.5-VL-1.6B.json",
     "the weights and the caches: text_config.conv_dim, text_config.conv_dim_out"},
    {"configs/MiniMaxAI--MiniMax-M2.5.json",
     "the weights: mtp_transformer_layers, num_mtp_modules"},
    {"configs/Qwen--Qwen2-Audio-7B-Instruct.json", "the weights: audio_config"},
    {"configs/XiaomiMiMo--MiMo-V2-Flash.json", "the caches: attention_chunk_size"},
    {"configs/deepseek-ai--DeepSeek-V3.2.json",
     "the weights: index_n_heads, num_nextn_predict_layers"},
    {"configs/deepseek-ai--DeepSeek-V4-Flash.json",
     "the weights: index_n_heads, num_nextn_predict_layers, o_lora_rank, q_lora_rank; the weights "
     "and the caches: qk_rope_head_dim"},
    {"configs/google--gemma-4-E2B-it.json", "the weights: audio_config, vision_config"},
    {"configs/hf-internal-testing--tiny-random-PhiModel.json", "the weights: type_vocab_size"},
    {"configs/meta-llama--Llama-3.2-11B-Vision-Instruct.json", "the weights: vision_config"},
    {"configs/meta-llama--Llama-4-Scout-17B-16E-Instruct.json", "the weights: vision_config"},
    {"configs/moonshotai--Kimi-K3.json",
     "the weights: text_config.q_lora_rank, text_config.routed_expert_hidden_size, vision_config"},
    {"configs/zai-org--GLM-5.2.json", "the weights: index_n_heads, num_nextn_predict_layers"},
};

TEST(UnusedFields, OfPublishedConfigsAreNamed) {
  const std::vector<std::filesystem::path> files = shared_configs();
  if (files.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  std::size_t named = 0;
  for (const std::filesystem::path& file : files) {
    const std::string name = file.parent_path().filename() / file.filename();
    SCOPED_TRACE(name);
    try {
      const std::string unused = unused_in(read_model(file).shape);
      const auto row = kUnusedInPublished.find(name);
      EXPECT_EQ(unused, row == kUnusedInPublished.end() ? "" : row->second);
      if (!unused.empty()) ++named;
    } catch (const Error&) {
      continue;  // not a config, or a model that cannot be planned
    }
  }
  EXPECT_EQ(named, kUnusedInPublished.size());
}

// What checkpoints store beside the parameters that an engine loads: scales of quantized matrices
// (which are planned apart), buffers of old versions of transformers, and a copy of a tied head.
const std::map<std::string, std::uint64_t> kStoredBeside = {
    {"Qwen--Qwen3-0.6B.json", 155'582'464},    {"THUDM--glm-4-9b.json", 32},
    {"meta-llama--Llama-2-7b-hf.json", 2048},  {"moonshotai--Kimi-K2-Instruct.json", 62'498'608},
    {"openai--gpt-oss-20b.json", 597'196'800}, {"openai-community--gpt2.json", 12'582'912},
};

TEST(ExactWeights, OfPublishedConfigsAreThoseOfTheirCheckpoints) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  std::size_t exact = 0;
  for (const IndexRow& row : rows) {
    const std::string& file = row.at("file");
    SCOPED_TRACE(file);
    const ModelShape shape = read_model(shared_data("configs") / file).shape;
    if (!shape.exact_weights || row.at("params_stated").empty()) continue;
    ++exact;
    const auto beside = kStoredBeside.find(file);
    EXPECT_EQ(
        shape.parameter_count().value() + (beside == kStoredBeside.end() ? 0 : beside->second),
        std::stoull(row.at("params_stated")));
  }
  EXPECT_EQ(exact, 24U);
}

// Whatever else a config says, a field of an unknown name is seen.
TEST(UnusedFields, AddedToAPublishedConfigAreNamed) {
  const std::vector<std::filesystem::path> files = shared_configs();
  if (files.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  for (const std::filesystem::path& file : files) {
    SCOPED_TRACE(file);
    for (const char* word : {"kv", "head", "expert", "layer", "window", "rank", "latent", "quant",
                             "bits", "vision", "mtp"}) {
      const std::string field = "a_" + std::string(word) + "_b";
      try {
        Metadata metadata = internal::read_json_config(file);
        metadata.add(field, std::uint64_t{3});
        const ModelShape shape = internal::config_shape("config.json", metadata);
        if (shape.layers.empty()) break;
        EXPECT_NE(unused_in(shape).find(field), std::string::npos) << field;
        EXPECT_FALSE(shape.exact());
      } catch (const Error&) {
        break;  // not a config, or a model that cannot be planned
      }
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
