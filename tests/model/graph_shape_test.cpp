// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/graph_shape.hpp"

#include <gtest/gtest.h>

#include <string>

#include "model/shapes.hpp"

namespace tapedeck::tests {
namespace {

ModelShape shape_of(const std::string& architecture, const std::string& entries = "") {
  return shape_of_words(architecture,
                        "hidden_size=64 vocab_size=512 num_hidden_layers=2 num_attention_heads=4 "
                        "intermediate_size=128 " +
                            entries);
}

TEST(GraphShape, FollowsTheArchitecture) {
  const GraphShape llama = shape_of("llama", "rms_norm_eps=1e-5").graph;
  EXPECT_TRUE(llama.gated_ffn && llama.rope);
  EXPECT_FALSE(llama.layer_norm || llama.one_norm || llama.fused_qkv);
  const GraphShape gpt2 = shape_of("gpt2").graph;
  EXPECT_TRUE(gpt2.layer_norm && gpt2.fused_qkv);
  EXPECT_FALSE(gpt2.gated_ffn || gpt2.rope);
  EXPECT_TRUE(shape_of("cohere").graph.one_norm);
}

TEST(GraphShape, FollowsTheFileWhereItSays) {
  EXPECT_TRUE(shape_of("gpt_neox").graph.parallel);
  EXPECT_FALSE(shape_of("gpt_neox", "use_parallel_residual=false").graph.parallel);
  EXPECT_TRUE(shape_of("llama", "layer_norm_eps=1e-5").graph.layer_norm);
  EXPECT_EQ(shape_of("llama").graph.conv_kernel, 4U);
  EXPECT_EQ(shape_of("llama", "conv_kernel=0 d_conv=3").graph.conv_kernel, 3U);
  EXPECT_EQ(shape_of("llama", "conv_kernel=1").graph.conv_kernel, 1U);
}

TEST(GraphShape, SaysWhereTheEngineKnowsNoWindows) {
  for (const char* name : {"mistral", "mixtral", "phi3", "starcoder2", "qwen2"}) {
    EXPECT_TRUE(shape_of(name).windowless_engine) << name;
  }
  EXPECT_FALSE(shape_of("gemma2").windowless_engine);
}

}  // namespace
}  // namespace tapedeck::tests
