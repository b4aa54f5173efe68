/// @file
/// Shapes of many architectures with few layers, and the compute buffers that the engine (build
/// v0.5.0, CPU) reserves for them.
#pragma once

#include <cstdint>
#include <vector>

namespace tapedeck::tests {

struct EngineStart {
  /// Context, sequences, batch, micro-batch, flash attention, unified, full windows, K and V.
  const char* settings;
  std::uint64_t bytes;
};

struct EngineShape {
  const char* architecture;
  const char* keys;     ///< Of the header, without the architecture's name.
  const char* tensors;  ///< Those whose presence tells something.
  std::vector<EngineStart> starts;
};

inline std::vector<EngineShape> engine_shapes() {
  return {
      {"nemotron",
       "block_count=4 context_length=4096 embedding_length=3072 feed_forward_length=9216 "
       "attention.head_count=24 attention.head_count_kv=8 vocab_size=8000 "
       "attention.layer_norm_epsilon=1e-05 rope.dimension_count=64",
       "blk.0.attn_q.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 48248832},
        {"4096 1 2048 512 0 0 0 f16 f16", 245377024},
        {"16384 1 2048 512 1 0 0 f32 f32", 115357696},
        {"5000 3 2048 512 0 0 0 f16 f16", 127661152},
        {"8192 4 2048 512 0 1 0 f16 f16", 455092224},
        {"16384 1 2048 2048 1 0 0 f16 f16", 243326976},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 71399424}}},
      {"deepseek2",
       "block_count=6 context_length=163840 embedding_length=2048 feed_forward_length=18432 "
       "attention.head_count=16 attention.head_count_kv=1 vocab_size=32000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.q_lora_rank=1536 "
       "attention.kv_lora_rank=512 attention.key_length=576 attention.value_length=512 "
       "attention.key_length_mla=192 attention.value_length_mla=128 rope.dimension_count=64 "
       "expert_count=256 expert_used_count=8 expert_feed_forward_length=2048 "
       "expert_shared_count=1 leading_dense_block_count=3",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.3.ffn_gate_exps.weight blk.3.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 134227968},
        {"4096 1 2048 512 0 0 0 f16 f16", 213690368},
        {"16384 1 2048 512 1 0 0 f32 f32", 142616576},
        {"5000 3 2048 512 0 0 0 f16 f16", 133735072},
        {"8192 4 2048 512 0 1 0 f16 f16", 356296704},
        {"16384 1 2048 2048 1 0 0 f16 f16", 587243520},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 163588096}}},
      {"phi3",
       "block_count=4 context_length=131072 embedding_length=3072 feed_forward_length=8192 "
       "attention.head_count=32 attention.head_count_kv=32 vocab_size=32064 "
       "attention.layer_norm_rms_epsilon=1e-06 rope.dimension_count=96 "
       "attention.sliding_window=262144",
       "blk.0.attn_qkv.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 0 0 0 f16 f16", 308291584},
        {"16384 1 2048 512 1 0 0 f32 f32", 243283968},
        {"5000 3 2048 512 0 0 0 f16 f16", 152876128},
        {"8192 4 2048 512 0 1 0 f16 f16", 585115648},
        {"16384 1 2048 2048 1 0 0 f16 f16", 343990272},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 102774784},
        {"32768 1 2048 512 1 0 0 f16 f16", 102774784}}},
      {"falcon-h1",
       "block_count=4 context_length=131072 embedding_length=4096 feed_forward_length=10752 "
       "attention.head_count=32 attention.head_count_kv=8 vocab_size=8000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=128 "
       "attention.value_length=128 ssm.conv_kernel=4 ssm.inner_size=8192 ssm.state_size=256 "
       "ssm.time_step_rank=64 ssm.group_count=2 rope.dimension_count=128",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 136681504},
        {"4096 1 2048 512 0 0 0 f16 f16", 331360288},
        {"16384 1 2048 512 1 0 0 f32 f32", 149264416},
        {"5000 3 2048 512 0 0 0 f16 f16", 175989888},
        {"8192 4 2048 512 0 1 0 f16 f16", 608184352},
        {"16384 1 2048 2048 1 0 0 f16 f16", 562839584},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 166123552}}},
      {"qwen35",
       "block_count=8 context_length=262144 embedding_length=2560 feed_forward_length=9216 "
       "attention.head_count=16 attention.head_count_kv=4 vocab_size=4000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=256 "
       "attention.value_length=256 ssm.conv_kernel=4 ssm.inner_size=4096 ssm.state_size=128 "
       "ssm.time_step_rank=32 ssm.group_count=16 full_attention_interval=4 "
       "rope.dimension_count=64",
       "blk.0.attn_qkv.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight blk.3.attn_q.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 76566560},
        {"4096 1 2048 512 0 0 0 f16 f16", 187711520},
        {"16384 1 2048 512 1 0 0 f32 f32", 133189664},
        {"5000 3 2048 512 0 0 0 f16 f16", 107705472},
        {"8192 4 2048 512 0 1 0 f16 f16", 330317856},
        {"16384 1 2048 2048 1 0 0 f16 f16", 356597792},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 106205216}}},
      {"qwen3next",
       "block_count=8 context_length=262144 embedding_length=2048 feed_forward_length=5120 "
       "attention.head_count=16 attention.head_count_kv=2 vocab_size=4000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=256 "
       "attention.value_length=256 expert_count=512 expert_used_count=10 "
       "expert_feed_forward_length=512 expert_shared_feed_forward_length=512 ssm.conv_kernel=4 "
       "ssm.inner_size=4096 ssm.state_size=128 ssm.time_step_rank=32 ssm.group_count=16 "
       "full_attention_interval=4 rope.dimension_count=64",
       "blk.0.attn_qkv.weight blk.0.ffn_gate_exps.weight blk.0.ffn_up_exps.weight "
       "blk.0.post_attention_norm.weight blk.3.attn_q.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 94386208},
        {"4096 1 2048 512 0 0 0 f16 f16", 186656800},
        {"16384 1 2048 512 1 0 0 f32 f32", 106969120},
        {"5000 3 2048 512 0 0 0 f16 f16", 106648704},
        {"8192 4 2048 512 0 1 0 f16 f16", 329263136},
        {"16384 1 2048 2048 1 0 0 f16 f16", 427876384},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 124024864}}},
      {"gemma4",
       "block_count=6 context_length=131072 embedding_length=5376 feed_forward_length=21504 "
       "attention.head_count=32 attention.head_count_kv=16,16,16,16,16,4 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=512 "
       "attention.value_length=512 attention.key_length_swa=256 attention.value_length_swa=256 "
       "attention.sliding_window=1024 attention.sliding_window_pattern=1,1,1,1,1,0 "
       "embedding_length_per_layer_input=0 attention.shared_kv_layers=0 "
       "rope.dimension_count=512 rope.dimension_count_swa=256",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 187717632},
        {"4096 1 2048 512 0 0 0 f16 f16", 402667520},
        {"16384 1 2048 512 1 0 0 f32 f32", 252729344},
        {"5000 3 2048 512 0 0 0 f16 f16", 247436416},
        {"8192 4 2048 512 0 1 0 f16 f16", 674772992},
        {"16384 1 2048 2048 1 0 0 f16 f16", 807493632},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 218421248}}},
      {"gemma4",
       "block_count=10 context_length=131072 embedding_length=1536 feed_forward_length=6144 "
       "attention.head_count=8 attention.head_count_kv=1 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=512 "
       "attention.value_length=512 attention.key_length_swa=256 attention.value_length_swa=256 "
       "attention.sliding_window=512 attention.sliding_window_pattern=1,1,1,1,0,1,1,1,1,0 "
       "embedding_length_per_layer_input=256 attention.shared_kv_layers=5 "
       "rope.dimension_count=512 rope.dimension_count_swa=256",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 68182016},
        {"4096 1 2048 512 0 0 0 f16 f16", 118505472},
        {"16384 1 2048 512 1 0 0 f32 f32", 83386368},
        {"5000 3 2048 512 0 0 0 f16 f16", 76186784},
        {"8192 4 2048 512 0 1 0 f16 f16", 197148672},
        {"16384 1 2048 2048 1 0 0 f16 f16", 329351168},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 98885632}}},
      {"gemma3n",
       "block_count=35 context_length=32768 embedding_length=2048 feed_forward_length=8192 "
       "attention.head_count=8 attention.head_count_kv=2 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=256 "
       "attention.value_length=256 attention.sliding_window=512 altup.num_inputs=4 "
       "embedding_length_per_layer_input=256 attention.shared_kv_layers=15 "
       "attention.sliding_window_pattern=1,1,1,1,0,1,1,1,1,0,1,1,1,1,0,1,1,1,1,0,1,1,1,1,0,1,1,1,1,"
       "0,1,1,1,1,0",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 113270784},
        {"4096 1 2048 512 0 0 0 f16 f16", 133709824},
        {"8192 4 2048 512 0 1 0 f16 f16", 212353024},
        {"16384 1 2048 2048 1 0 0 f16 f16", 509706240},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 143187968},
        {"32768 1 2048 512 1 0 0 f16 f16", 142630912}}},
      {"deepseek32",
       "block_count=6 context_length=163840 embedding_length=7168 feed_forward_length=18432 "
       "attention.head_count=128 attention.head_count_kv=1 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.q_lora_rank=1536 "
       "attention.kv_lora_rank=512 attention.key_length=576 attention.value_length=512 "
       "attention.key_length_mla=192 attention.value_length_mla=128 rope.dimension_count=64 "
       "expert_count=256 expert_used_count=8 expert_feed_forward_length=2048 "
       "expert_shared_count=1 leading_dense_block_count=3 attention.indexer.head_count=64 "
       "attention.indexer.key_length=128 attention.indexer.top_k=2048",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.3.ffn_gate_exps.weight blk.3.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 461453312},
        {"4096 1 2048 512 0 0 0 f16 f16", 1539389440},
        {"16384 1 2048 512 1 0 0 f32 f32", 589379584},
        {"5000 3 2048 512 0 0 0 f16 f16", 926993024},
        {"8192 4 2048 512 0 1 0 f16 f16", 2625714176},
        {"16384 1 2048 2048 1 0 0 f16 f16", 1879171072}}},
      {"glm-dsa",
       "block_count=6 context_length=163840 embedding_length=6144 feed_forward_length=12288 "
       "attention.head_count=64 attention.head_count_kv=1 vocab_size=154880 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.q_lora_rank=2048 "
       "attention.kv_lora_rank=512 attention.key_length=576 attention.value_length=512 "
       "attention.key_length_mla=256 attention.value_length_mla=256 rope.dimension_count=64 "
       "expert_count=256 expert_used_count=8 expert_feed_forward_length=2048 "
       "expert_shared_count=1 leading_dense_block_count=3 attention.indexer.head_count=32 "
       "attention.indexer.key_length=128 attention.indexer.top_k=2048",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.3.ffn_gate_exps.weight blk.3.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 367527936},
        {"4096 1 2048 512 0 0 0 f16 f16", 801191936},
        {"16384 1 2048 512 1 0 0 f32 f32", 367527936},
        {"5000 3 2048 512 0 0 0 f16 f16", 489933440},
        {"8192 4 2048 512 0 1 0 f16 f16", 1350645760},
        {"16384 1 2048 2048 1 0 0 f16 f16", 1470111744},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 385955840}}},
      {"gptneox",
       "block_count=4 context_length=2048 embedding_length=6144 feed_forward_length=24576 "
       "attention.head_count=64 attention.head_count_kv=64 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05 rope.dimension_count=24 use_parallel_residual=true",
       "blk.0.attn_qkv.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 104871936},
        {"4096 1 2048 512 0 0 0 f16 f16", 608184320},
        {"16384 1 2048 512 1 0 0 f32 f32", 469776384},
        {"5000 3 2048 512 0 0 0 f16 f16", 302064736},
        {"8192 4 2048 512 0 1 0 f16 f16", 1153443840},
        {"16384 1 2048 2048 1 0 0 f16 f16", 469819392},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 134232064}}},
      {"falcon",
       "block_count=4 context_length=2048 embedding_length=8192 feed_forward_length=32768 "
       "attention.head_count=128 attention.head_count_kv=8 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05",
       "blk.0.attn_qkv.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 155203584},
        {"4096 1 2048 512 0 0 0 f16 f16", 1170221056},
        {"16384 1 2048 512 1 0 0 f32 f32", 203438080},
        {"5000 3 2048 512 0 0 0 f16 f16", 562619488},
        {"8192 4 2048 512 0 1 0 f16 f16", 2252351488},
        {"16384 1 2048 2048 1 0 0 f16 f16", 604037120},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 167819264}}},
      {"falcon",
       "block_count=4 context_length=2048 embedding_length=8192 feed_forward_length=32768 "
       "attention.head_count=128 attention.head_count_kv=8 vocab_size=65024 "
       "attention.layer_norm_epsilon=1e-05",
       "blk.0.attn_norm_2.weight blk.0.attn_qkv.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 166725632},
        {"4096 1 2048 512 0 0 0 f16 f16", 1134569472},
        {"16384 1 2048 512 1 0 0 f32 f32", 184563712},
        {"5000 3 2048 512 0 0 0 f16 f16", 526898272},
        {"8192 4 2048 512 0 1 0 f16 f16", 2216699904},
        {"16384 1 2048 2048 1 0 0 f16 f16", 666902528},
        {"32768 1 2048 512 1 0 0 f16 f16", 167786496}}},
      {"rwkv6",
       "block_count=4 context_length=1048576 embedding_length=2048 feed_forward_length=7168 "
       "attention.head_count=0 attention.head_count_kv=0 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05 wkv.head_size=64 time_mix_extra_dim=32 "
       "time_decay_extra_dim=64",
       "blk.0.attn_norm_2.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 59789344},
        {"4096 1 2048 512 0 0 0 f16 f16", 59789344},
        {"16384 1 2048 512 1 0 0 f32 f32", 59789344},
        {"5000 3 2048 512 0 0 0 f16 f16", 62033984},
        {"8192 4 2048 512 0 1 0 f16 f16", 62984224},
        {"16384 1 2048 2048 1 0 0 f16 f16", 235962400},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 59789344}}},
      {"kimi-linear",
       "block_count=8 context_length=1048576 embedding_length=2304 feed_forward_length=9216 "
       "attention.head_count=32 attention.head_count_kv=0,0,0,1,0,0,0,1 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.kv_lora_rank=512 "
       "attention.key_length=576 attention.value_length=512 attention.key_length_mla=192 "
       "attention.value_length_mla=128 rope.dimension_count=64 ssm.conv_kernel=4 "
       "kda.head_dim=128 expert_count=256 expert_used_count=8 expert_feed_forward_length=1024 "
       "expert_shared_count=1 leading_dense_block_count=1",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.1.ffn_gate_exps.weight blk.1.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 114827296},
        {"4096 1 2048 512 0 0 0 f16 f16", 379592736},
        {"8192 4 2048 512 0 1 0 f16 f16", 656416800},
        {"16384 1 2048 2048 1 0 0 f16 f16", 509640736},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 144187424},
        {"32768 1 2048 512 1 0 0 f16 f16", 144187424}}},
      {"olmo",
       "block_count=4 context_length=2048 embedding_length=4096 feed_forward_length=11008 "
       "attention.head_count=32 attention.head_count_kv=32 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 105396224},
        {"4096 1 2048 512 0 0 0 f16 f16", 335554560},
        {"16384 1 2048 512 1 0 0 f32 f32", 327170048},
        {"5000 3 2048 512 0 0 0 f16 f16", 180192352},
        {"8192 4 2048 512 0 1 0 f16 f16", 612378624},
        {"16384 1 2048 2048 1 0 0 f16 f16", 471916544},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 126449664}}},
      {"lfm2",
       "block_count=8 context_length=128000 embedding_length=2048 feed_forward_length=8192 "
       "attention.head_count=32 attention.head_count_kv=0,0,8,0,0,8,0,0 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 shortconv.l_cache=3",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight blk.2.attn_q.weight",
       {{"4096 1 2048 512 0 0 0 f16 f16", 299903008},
        {"16384 1 2048 512 1 0 0 f32 f32", 79722528},
        {"5000 3 2048 512 0 0 0 f16 f16", 144471168},
        {"8192 4 2048 512 0 1 0 f16 f16", 576727072},
        {"16384 1 2048 2048 1 0 0 f16 f16", 318840864},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 96532512},
        {"32768 1 2048 512 1 0 0 f16 f16", 96499744}}},
      {"lfm2moe",
       "block_count=8 context_length=128000 embedding_length=2048 feed_forward_length=7168 "
       "attention.head_count=32 attention.head_count_kv=0,0,8,0,0,8,0,0 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 shortconv.l_cache=3 expert_count=32 "
       "expert_used_count=4 expert_feed_forward_length=1792 leading_dense_block_count=2",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight blk.2.attn_q.weight "
       "blk.2.ffn_gate_exps.weight blk.2.ffn_up_exps.weight",
       {{"4096 1 2048 512 0 0 0 f16 f16", 299903008},
        {"16384 1 2048 512 1 0 0 f32 f32", 73611296},
        {"5000 3 2048 512 0 0 0 f16 f16", 144471168},
        {"8192 4 2048 512 0 1 0 f16 f16", 576727072},
        {"16384 1 2048 2048 1 0 0 f16 f16", 294445088},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 90421280},
        {"32768 1 2048 512 1 0 0 f16 f16", 90388512}}},
      {"jamba",
       "block_count=8 context_length=262144 embedding_length=4096 feed_forward_length=14336 "
       "attention.head_count=32 attention.head_count_kv=0,0,0,0,8,0,0,0 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 ssm.conv_kernel=4 ssm.inner_size=8192 "
       "ssm.state_size=16 ssm.time_step_rank=256 expert_count=16 expert_used_count=2",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.1.ffn_gate_exps.weight blk.1.ffn_up_exps.weight blk.4.attn_q.weight",
       {{"4096 1 2048 512 0 0 0 f16 f16", 314581024},
        {"8192 4 2048 512 0 1 0 f16 f16", 591405088}}},
      {"glm4moe",
       "block_count=5 context_length=131072 embedding_length=4096 feed_forward_length=10944 "
       "attention.head_count=96 attention.head_count_kv=8 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=128 "
       "attention.value_length=128 rope.dimension_count=64 expert_count=128 "
       "expert_used_count=8 expert_feed_forward_length=1408 expert_shared_count=1 "
       "leading_dense_block_count=1",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight blk.1.ffn_gate_exps.weight blk.1.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 182466560},
        {"4096 1 2048 512 0 0 0 f16 f16", 901785600},
        {"16384 1 2048 512 1 0 0 f32 f32", 179058688},
        {"5000 3 2048 512 0 0 0 f16 f16", 444949600},
        {"8192 4 2048 512 0 1 0 f16 f16", 1715480576},
        {"16384 1 2048 2048 1 0 0 f16 f16", 780197888},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 211908608}}},
      {"llama4",
       "block_count=8 context_length=10485760 embedding_length=5120 feed_forward_length=16384 "
       "attention.head_count=40 attention.head_count_kv=8 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=128 "
       "attention.value_length=128 expert_count=16 expert_used_count=1 "
       "expert_feed_forward_length=8192 interleave_moe_layer_step=1 rope.dimension_count=128 "
       "attention.chunk_size=8192",
       "blk.0.attn_q.weight blk.0.ffn_gate_exps.weight blk.0.ffn_norm.weight "
       "blk.0.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 111271936},
        {"4096 1 2048 512 0 0 0 f16 f16", 413253632},
        {"16384 1 2048 512 1 0 0 f32 f32", 145350656},
        {"5000 3 2048 512 0 0 0 f16 f16", 215492960},
        {"8192 4 2048 512 0 1 0 f16 f16", 765575168},
        {"16384 1 2048 2048 1 0 0 f16 f16", 520585216},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 145514496}}},
      {"minicpm3",
       "block_count=4 context_length=32768 embedding_length=2560 feed_forward_length=6400 "
       "attention.head_count=40 attention.head_count_kv=40 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.q_lora_rank=768 "
       "attention.kv_lora_rank=256 attention.key_length=96 attention.value_length=64 "
       "rope.dimension_count=32",
       "blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 64501760},
        {"4096 1 2048 512 0 0 0 f16 f16", 387459072},
        {"16384 1 2048 512 1 0 0 f32 f32", 259536896},
        {"5000 3 2048 512 0 0 0 f16 f16", 194375776},
        {"8192 4 2048 512 0 1 0 f16 f16", 731392000},
        {"16384 1 2048 2048 1 0 0 f16 f16", 308338688},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 88635392}}},
      {"gpt-oss",
       "block_count=4 context_length=131072 embedding_length=2880 feed_forward_length=2880 "
       "attention.head_count=64 attention.head_count_kv=8 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=64 "
       "attention.value_length=64 attention.sliding_window=128 expert_count=128 "
       "expert_used_count=4 expert_feed_forward_length=2880",
       "blk.0.attn_q.weight blk.0.ffn_gate_exps.weight blk.0.ffn_up_exps.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 101865472},
        {"4096 1 2048 512 0 0 0 f16 f16", 585512960},
        {"16384 1 2048 512 1 0 0 f32 f32", 116021248},
        {"5000 3 2048 512 0 0 0 f16 f16", 279349120},
        {"8192 4 2048 512 0 1 0 f16 f16", 1131296768},
        {"16384 1 2048 2048 1 0 0 f16 f16", 464084992},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 131291136}}},
      {"exaone4",
       "block_count=8 context_length=131072 embedding_length=5120 feed_forward_length=27392 "
       "attention.head_count=40 attention.head_count_kv=8 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=128 "
       "attention.value_length=128 attention.sliding_window=4096",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 214448128},
        {"4096 1 2048 512 0 0 0 f16 f16", 390080512},
        {"16384 1 2048 512 1 0 0 f32 f32", 227031040},
        {"5000 3 2048 512 0 0 0 f16 f16", 218190944},
        {"8192 4 2048 512 0 1 0 f16 f16", 734013440},
        {"16384 1 2048 2048 1 0 0 f16 f16", 908124160},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 243890176}}},
      {"stablelm",
       "block_count=4 context_length=4096 embedding_length=5120 feed_forward_length=13824 "
       "attention.head_count=32 attention.head_count_kv=8 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05 rope.dimension_count=40 use_parallel_residual=true",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 141572096},
        {"4096 1 2048 512 0 0 0 f16 f16", 334505984},
        {"16384 1 2048 512 1 0 0 f32 f32", 153106432},
        {"5000 3 2048 512 0 0 0 f16 f16", 179141728},
        {"8192 4 2048 512 0 1 0 f16 f16", 611330048},
        {"16384 1 2048 2048 1 0 0 f16 f16", 574676992},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 160446464}}},
      {"starcoder2",
       "block_count=4 context_length=16384 embedding_length=3072 feed_forward_length=12288 "
       "attention.head_count=24 attention.head_count_kv=2 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05",
       "blk.0.attn_q.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 54540288},
        {"4096 1 2048 512 0 0 0 f16 f16", 242231296},
        {"16384 1 2048 512 1 0 0 f32 f32", 62928896},
        {"5000 3 2048 512 0 0 0 f16 f16", 124509280},
        {"8192 4 2048 512 0 1 0 f16 f16", 451946496},
        {"16384 1 2048 2048 1 0 0 f16 f16", 268492800},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 77690880}}},
      {"phi2",
       "block_count=4 context_length=2048 embedding_length=2560 feed_forward_length=10240 "
       "attention.head_count=32 attention.head_count_kv=32 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05 rope.dimension_count=32",
       "blk.0.attn_q.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 51394560},
        {"4096 1 2048 512 0 0 0 f16 f16", 313534464},
        {"16384 1 2048 512 1 0 0 f32 f32", 210778112},
        {"5000 3 2048 512 0 0 0 f16 f16", 158129248},
        {"8192 4 2048 512 0 1 0 f16 f16", 590358528}}},
      {"mamba2",
       "block_count=4 context_length=1048576 embedding_length=4096 feed_forward_length=0 "
       "attention.head_count=0 attention.head_count_kv=0 vocab_size=32768 "
       "attention.layer_norm_rms_epsilon=1e-06 ssm.conv_kernel=4 ssm.inner_size=8192 "
       "ssm.state_size=128 ssm.time_step_rank=128 ssm.group_count=8",
       "",
       {{"4096 1 2048 512 1 0 0 f16 f16", 122146848},
        {"4096 1 2048 512 0 0 0 f16 f16", 122146848},
        {"16384 1 2048 512 1 0 0 f32 f32", 122146848},
        {"5000 3 2048 512 0 0 0 f16 f16", 139661888},
        {"8192 4 2048 512 0 1 0 f16 f16", 143855648},
        {"16384 1 2048 2048 1 0 0 f16 f16", 487850016},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 122146848}}},
      {"mpt",
       "block_count=4 context_length=2048 embedding_length=4096 feed_forward_length=16384 "
       "attention.head_count=32 attention.head_count_kv=32 vocab_size=6000 "
       "attention.layer_norm_epsilon=1e-05 attention.max_alibi_bias=8.0",
       "blk.0.attn_qkv.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 71315456},
        {"4096 1 2048 512 0 0 0 f16 f16", 343941120},
        {"16384 1 2048 512 1 0 0 f32 f32", 335556608},
        {"5000 3 2048 512 0 0 0 f16 f16", 188595264},
        {"8192 4 2048 512 0 1 0 f16 f16", 620765184},
        {"16384 1 2048 2048 1 0 0 f16 f16", 335593472},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 100757504}}},
      {"qwen2moe",
       "block_count=4 context_length=32768 embedding_length=2048 feed_forward_length=5632 "
       "attention.head_count=16 attention.head_count_kv=16 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 expert_count=60 expert_used_count=4 "
       "expert_feed_forward_length=1408 expert_shared_feed_forward_length=5632",
       "blk.0.attn_q.weight blk.0.ffn_gate_exps.weight blk.0.ffn_norm.weight "
       "blk.0.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 61085696},
        {"4096 1 2048 512 0 0 0 f16 f16", 184813568},
        {"16384 1 2048 512 1 0 0 f32 f32", 184817664},
        {"5000 3 2048 512 0 0 0 f16 f16", 104801920},
        {"8192 4 2048 512 0 1 0 f16 f16", 327419904},
        {"16384 1 2048 2048 1 0 0 f16 f16", 294674432},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 90527744}}},
      {"chatglm",
       "block_count=4 context_length=131072 embedding_length=4096 feed_forward_length=13696 "
       "attention.head_count=32 attention.head_count_kv=2 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06 rope.dimension_count=64",
       "blk.0.attn_qkv.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 121911296},
        {"4096 1 2048 512 0 0 0 f16 f16", 303048704},
        {"16384 1 2048 512 1 0 0 f32 f32", 126105600},
        {"5000 3 2048 512 0 0 0 f16 f16", 147623008},
        {"8192 4 2048 512 0 1 0 f16 f16", 579872768},
        {"16384 1 2048 2048 1 0 0 f16 f16", 504422400},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 142964736}}},
      {"olmo2",
       "block_count=4 context_length=4096 embedding_length=4096 feed_forward_length=11008 "
       "attention.head_count=32 attention.head_count_kv=32 vocab_size=6000 "
       "attention.layer_norm_rms_epsilon=1e-06",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 105396224},
        {"4096 1 2048 512 0 0 0 f16 f16", 327165952},
        {"16384 1 2048 512 1 0 0 f32 f32", 318781440},
        {"5000 3 2048 512 0 0 0 f16 f16", 171787360},
        {"8192 4 2048 512 0 1 0 f16 f16", 603990016},
        {"16384 1 2048 2048 1 0 0 f16 f16", 471916544},
        {"32768 1 2048 512 1 0 0 f16 f16", 134756352}}},
      {"bloom",
       "block_count=4 context_length=2048 embedding_length=4096 feed_forward_length=16384 "
       "attention.head_count=32 attention.head_count_kv=32 vocab_size=5000 "
       "attention.layer_norm_epsilon=1e-05 attention.max_alibi_bias=8.0",
       "blk.0.attn_qkv.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 71315456},
        {"4096 1 2048 512 0 0 0 f16 f16", 343941120},
        {"16384 1 2048 512 1 0 0 f32 f32", 335556608},
        {"5000 3 2048 512 0 0 0 f16 f16", 188595264},
        {"8192 4 2048 512 0 1 0 f16 f16", 620765184},
        {"16384 1 2048 2048 1 0 0 f16 f16", 335593472},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 100757504}}},
      {"command-r",
       "block_count=4 context_length=131072 embedding_length=8192 feed_forward_length=22528 "
       "attention.head_count=64 attention.head_count_kv=8 vocab_size=16000 "
       "attention.layer_norm_epsilon=1e-05",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 226506752},
        {"4096 1 2048 512 0 0 0 f16 f16", 633350144},
        {"16384 1 2048 512 1 0 0 f32 f32", 222312448},
        {"5000 3 2048 512 0 0 0 f16 f16", 327279712},
        {"8192 4 2048 512 0 1 0 f16 f16", 1178609664},
        {"16384 1 2048 2048 1 0 0 f16 f16", 889249792},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 255948800}}},
      {"nemotron_h_moe",
       "block_count=6 context_length=1048576 embedding_length=2688 "
       "feed_forward_length=0,1856,0,0,1856,0 attention.head_count=32 "
       "attention.head_count_kv=0,0,0,2,0,0 vocab_size=131072 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=128 "
       "attention.value_length=128 ssm.conv_kernel=4 ssm.inner_size=4096 ssm.state_size=128 "
       "ssm.time_step_rank=64 ssm.group_count=8 expert_count=128 expert_used_count=6 "
       "expert_feed_forward_length=1856 expert_shared_feed_forward_length=3712 "
       "expert_shared_count=1 attention.layer_norm_epsilon=1e-05",
       "blk.1.ffn_up_exps.weight blk.3.attn_q.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 289157152},
        {"4096 1 2048 512 0 0 0 f16 f16", 302784544},
        {"16384 1 2048 512 1 0 0 f32 f32", 284952576},
        {"5000 3 2048 512 0 0 0 f16 f16", 289708128},
        {"8192 4 2048 512 0 1 0 f16 f16", 579608608},
        {"16384 1 2048 2048 1 0 0 f16 f16", 1139810336},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 284952576}}},
      {"granitehybrid",
       "block_count=8 context_length=131072 embedding_length=4096 feed_forward_length=768 "
       "attention.head_count=32 attention.head_count_kv=0,0,0,0,0,8,0,0 vocab_size=100352 "
       "attention.layer_norm_rms_epsilon=1e-06 ssm.conv_kernel=4 ssm.inner_size=8192 "
       "ssm.state_size=128 ssm.time_step_rank=128 ssm.group_count=1 expert_count=72 "
       "expert_used_count=10 expert_shared_feed_forward_length=1536",
       "blk.0.ffn_gate_exps.weight blk.0.ffn_norm.weight blk.0.ffn_up_exps.weight "
       "blk.5.attn_q.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 243284000},
        {"4096 1 2048 512 0 0 0 f16 f16", 322971680},
        {"16384 1 2048 512 1 0 0 f32 f32", 239077376},
        {"5000 3 2048 512 0 0 0 f16 f16", 246998144},
        {"8192 4 2048 512 0 1 0 f16 f16", 599795744},
        {"16384 1 2048 2048 1 0 0 f16 f16", 956309504},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 239077376}}},
      {"mimo2",
       "block_count=6 context_length=262144 embedding_length=4096 feed_forward_length=16384 "
       "attention.head_count=64 attention.head_count_kv=4,8,8,8,8,4 vocab_size=152576 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=192 "
       "attention.value_length=128 attention.sliding_window=128 "
       "attention.sliding_window_pattern=0,1,1,1,1,0 expert_count=256 expert_used_count=8 "
       "expert_feed_forward_length=2048 rope.dimension_count=64",
       "blk.0.attn_q.weight blk.0.ffn_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 329254912},
        {"4096 1 2048 512 0 0 0 f16 f16", 630732800},
        {"16384 1 2048 512 1 0 0 f32 f32", 329254912},
        {"5000 3 2048 512 0 0 0 f16 f16", 329271328},
        {"8192 4 2048 512 0 1 0 f16 f16", 1176516608},
        {"16384 1 2048 2048 1 0 0 f16 f16", 1317019648},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 329254912}}},
      {"gemma4",
       "block_count=6 context_length=131072 embedding_length=5376 feed_forward_length=21504 "
       "attention.head_count=32 attention.head_count_kv=16,16,16,16,16,4 vocab_size=262144 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=512 "
       "attention.value_length=512 attention.key_length_swa=256 attention.value_length_swa=256 "
       "attention.sliding_window=1024 attention.sliding_window_pattern=1,1,1,1,1,0 "
       "embedding_length_per_layer_input=0 attention.shared_kv_layers=0 "
       "rope.dimension_count=512 rope.dimension_count_swa=256",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 620255232},
        {"4096 1 2048 512 0 0 0 f16 f16", 569903104},
        {"16384 1 2048 512 1 0 0 f32 f32", 577263616},
        {"5000 3 2048 512 0 0 0 f16 f16", 569967648},
        {"8192 4 2048 512 0 1 0 f16 f16", 674772992},
        {"16384 1 2048 2048 1 0 0 f16 f16", 2315345920},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 595384320}}},
      {"qwen3next",
       "block_count=8 context_length=262144 embedding_length=2048 feed_forward_length=5120 "
       "attention.head_count=16 attention.head_count_kv=2 vocab_size=151936 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=256 "
       "attention.value_length=256 expert_count=512 expert_used_count=10 "
       "expert_feed_forward_length=512 expert_shared_feed_forward_length=512 ssm.conv_kernel=4 "
       "ssm.inner_size=4096 ssm.state_size=128 ssm.time_step_rank=32 ssm.group_count=16 "
       "full_attention_interval=4 rope.dimension_count=64",
       "blk.0.attn_qkv.weight blk.0.ffn_gate_exps.weight blk.0.ffn_up_exps.weight "
       "blk.0.post_attention_norm.weight blk.3.attn_q.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 327956512},
        {"4096 1 2048 512 0 0 0 f16 f16", 330049568},
        {"16384 1 2048 512 1 0 0 f32 f32", 323749888},
        {"5000 3 2048 512 0 0 0 f16 f16", 329561216},
        {"8192 4 2048 512 0 1 0 f16 f16", 332138496},
        {"16384 1 2048 2048 1 0 0 f16 f16", 1294999552},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 357595168}}},
      {"kimi-linear",
       "block_count=8 context_length=1048576 embedding_length=2304 feed_forward_length=9216 "
       "attention.head_count=32 attention.head_count_kv=0,0,0,1,0,0,0,1 vocab_size=163840 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.kv_lora_rank=512 "
       "attention.key_length=576 attention.value_length=512 attention.key_length_mla=192 "
       "attention.value_length_mla=128 rope.dimension_count=64 ssm.conv_kernel=4 "
       "kda.head_dim=128 expert_count=256 expert_used_count=8 expert_feed_forward_length=1024 "
       "expert_shared_count=1 leading_dense_block_count=1",
       "blk.0.attn_q.weight blk.0.ffn_gate.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight "
       "blk.1.ffn_gate_exps.weight blk.1.ffn_up_exps.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 358621216},
        {"4096 1 2048 512 0 0 0 f16 f16", 379592736},
        {"8192 4 2048 512 0 1 0 f16 f16", 656416800},
        {"16384 1 2048 2048 1 0 0 f16 f16", 1417682944},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 387981344},
        {"32768 1 2048 512 1 0 0 f16 f16", 387981344}}},
      {"gptneox",
       "block_count=4 context_length=2048 embedding_length=6144 feed_forward_length=24576 "
       "attention.head_count=64 attention.head_count_kv=64 vocab_size=50432 "
       "attention.layer_norm_epsilon=1e-05 rope.dimension_count=24 use_parallel_residual=true",
       "blk.0.attn_qkv.weight blk.0.ffn_norm.weight blk.0.ffn_up.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 128452608},
        {"4096 1 2048 512 0 0 0 f16 f16", 608184320},
        {"16384 1 2048 512 1 0 0 f32 f32", 469776384},
        {"5000 3 2048 512 0 0 0 f16 f16", 302064736},
        {"8192 4 2048 512 0 1 0 f16 f16", 1153443840},
        {"16384 1 2048 2048 1 0 0 f16 f16", 513810432},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 134232064}}},
      {"qwen35",
       "block_count=8 context_length=262144 embedding_length=2560 feed_forward_length=9216 "
       "attention.head_count=16 attention.head_count_kv=4 vocab_size=248320 "
       "attention.layer_norm_rms_epsilon=1e-06 attention.key_length=256 "
       "attention.value_length=256 ssm.conv_kernel=4 ssm.inner_size=4096 ssm.state_size=128 "
       "ssm.time_step_rank=32 ssm.group_count=16 full_attention_interval=4 "
       "rope.dimension_count=64",
       "blk.0.attn_qkv.weight blk.0.ffn_gate.weight blk.0.ffn_up.weight "
       "blk.0.post_attention_norm.weight blk.3.attn_q.weight",
       {{"4096 1 2048 512 1 0 0 f16 f16", 528502816},
        {"4096 1 2048 512 0 0 0 f16 f16", 531644448},
        {"16384 1 2048 512 1 0 0 f32 f32", 524290048},
        {"5000 3 2048 512 0 0 0 f16 f16", 526961792},
        {"8192 4 2048 512 0 1 0 f16 f16", 532678656},
        {"16384 1 2048 2048 1 0 0 f16 f16", 2097160192},
        {"32768 1 2048 512 1 0 0 q8_0 q8_0", 552898592}}},
  };
}

}  // namespace tapedeck::tests
