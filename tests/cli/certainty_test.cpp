// SPDX-License-Identifier: Apache-2.0
// What `plan` and `fit` say of assumptions and of unknown sizes.
#include <gmock/gmock.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>

#include "base/paths.hpp"
#include "cli/models.hpp"
#include "cli/program.hpp"
#include "model/safetensors_bytes.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

class CertaintyOf : public ::testing::Test {
 protected:
  // The results must not depend on a GPU of this machine.
  const Variable no_gpu_{"CUDA_VISIBLE_DEVICES", ""};
  TempFolder folder_;
  std::string model_ = made_large();
};

// A config.json without the type of its weights.
constexpr const char* kUntyped =
    R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 128,
        "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 128})";

TEST_F(CertaintyOf, FitSaysWhatThePlanAssumes) {
  const std::string path = folder_.write("config.json", kUntyped);
  const Json warnings = json_of({"plan", path}).at("warnings");
  ASSERT_EQ(warnings.size(), 1U);
  const std::string line = "\nwarning: " + warnings[0].get<std::string>() + "\n";
  for (const auto& [memory, exit_code] : {std::pair("1GiB", 0), std::pair("1KiB", 3)}) {
    const Words fit = {"fit", path, "--host-memory", memory};
    EXPECT_EQ(json_of(fit, exit_code).at("warnings"), warnings);
    EXPECT_THAT(run(fit).out, ::testing::HasSubstr(line));
  }
  EXPECT_TRUE(json_of({"fit", model_, "--host-memory", "1GiB"}).at("warnings").empty());
}

// A config.json of an architecture whose tensors are not known.
constexpr const char* kUnknownArchitecture =
    R"({"model_type": "sorcery", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 128,
        "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 128})";

TEST_F(CertaintyOf, UnknownWeightsAreNeitherNothingNorAFit) {
  const std::string path = folder_.write("config.json", kUnknownArchitecture);
  const Json plan = json_of({"plan", path});
  EXPECT_TRUE(plan.at("weights").at("bytes").is_null());
  EXPECT_TRUE(plan.at("weights").at("extent").is_null());
  EXPECT_TRUE(plan.at("total").at("bytes").is_null());
  EXPECT_THAT(run({"plan", path, "--tp", "2"}).out,
              Like("...\nweights * unknown   0 regions\n...\ntotal * unknown   * without the "
                   "weights\n...\n0       * unknown * unknown *\n..."));

  const Words fit = {"fit", path, "--gpu-memory", "1TiB", "--host-memory", "1TiB"};
  const Json refused = json_of(fit, 3);
  EXPECT_TRUE(refused.at("choices").empty());
  EXPECT_EQ(refused.at("warnings"), plan.at("warnings"));
  EXPECT_THAT(run(fit).err, Like("tapedeck: whether * fits is unknown, *--weights-size\n"));

  const Words stated = joined(fit, {"--weights-size", "1G"});
  EXPECT_EQ(json_of(stated).at("choices").size(), 2U);
  EXPECT_GT(json_of(stated).at("choices")[0].at("device").at("needed").get<std::uint64_t>(), 1_GiB);
  EXPECT_EQ(run({"fit", path, "--host-memory", "1G", "--weights-size", "1G"}).exit_code, 3);
}

// A figure that the files do not state is null, and not 0.
TEST_F(CertaintyOf, UnknownFiguresAreNotZero) {
  const std::string path =
      folder_.write("config.json", R"({"model_type": "sorcery", "num_hidden_layers": 2,
        "hidden_size": 64, "vocab_size": 128, "num_attention_heads": 4, "intermediate_size": 96})");
  const Json model = json_of({"plan", path, "--context", "64"}).at("model");
  for (const char* unknown : {"parameters", "context", "tensors"}) {
    EXPECT_TRUE(model.at(unknown).is_null()) << unknown;
  }
  EXPECT_EQ(model.at("hidden"), 64);
  EXPECT_THAT(
      run({"show", path}).out,
      Like("...\nsize      unknown parameters, hidden 64, vocabulary 128, made for ? tokens\n"
           "...\n\nno file that lists the tensors\n..."));
  const Json made = json_of({"plan", model_}).at("model");
  EXPECT_EQ(made.at("tensors"), 13);
  EXPECT_EQ(made.at("context"), 1024);

  // A file of tensors without a config.
  const TempFolder alone;
  const std::string tensors = alone.write(
      "model.safetensors", safetensors("{" + tensor_json("a", "F32", "2", 0, 8) + "}", 8));
  EXPECT_THAT(run({"show", tensors}).out,
              Like("...\nsize      2 parameters, hidden ?, vocabulary ?, made for ? tokens\n..."));
}

// Case E22: a model of 52 GB was called a fit for these budgets.
TEST_F(CertaintyOf, TheModelOfCaseE22IsNoFit) {
  const std::filesystem::path path = shared_data("cases") / "E22" / "config.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const Words fit = {"fit",          path,   "--context",     "8192",
                     "--gpu-memory", "4GiB", "--host-memory", "8GiB"};
  const Json unknown = json_of(fit, 3);
  EXPECT_TRUE(unknown.at("choices").empty());
  EXPECT_EQ(unknown.at("warnings").size(), 4U);
  EXPECT_THAT(run(fit).out,
              Like("...\nwarning: the tensors of gemma4_text are not all known, *\n..."));
  const Json stated = json_of(joined(fit, {"--weights-size", "52GB"}), 3);
  EXPECT_EQ(stated.at("choices").size(), 2U);
  for (const Json& choice : stated.at("choices")) EXPECT_FALSE(choice.at("fits").get<bool>());
  EXPECT_EQ(run({"plan", path, "--check"}).exit_code, 4);
}

// An element of a packed tensor is several parameters. Case E26.
TEST_F(CertaintyOf, PackedParametersAreThoseOfTheConfig) {
  folder_.write("config.json",
                R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
      "vocab_size": 128, "num_attention_heads": 4, "intermediate_size": 96,
      "max_position_embeddings": 128, "quantization_config": {"quant_method": "compressed-tensors",
      "format": "pack-quantized", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}})");
  folder_.write("model.safetensors",
                safetensors("{" + tensor_json("packed", "I32", "2", 0, 8) + "}", 8));
  EXPECT_EQ(json_of({"plan", folder_.path()}).at("model").at("parameters"), 86'336);
  EXPECT_THAT(run({"show", folder_.path()}).out, Like("...\nsize      86.34 K parameters, *\n..."));
}

// What is said of each part, and the exit codes for scripts.
TEST_F(CertaintyOf, CheckAcceptsOnlyWhatIsBounded) {
  const std::string untyped = folder_.write("untyped.json", kUntyped);
  const std::string unknown = folder_.write("unknown.json", kUnknownArchitecture);
  struct Row {
    Words words;
    int plan, fit;
    const char *weights, *caches, *compute;
  };
  const Row rows[] = {
      {{model_}, 0, 0, "exact", "exact", "exact"},
      {{model_, "--profile", "llama.cpp"}, 4, 4, "exact", "exact", "estimated"},
      {{untyped}, 4, 4, "estimated", "exact", "estimated"},
      {{untyped, "--weights-type", "bf16"}, 0, 0, "exact", "exact", "exact"},
      {{unknown}, 4, 3, "unknown", "estimated", "estimated"},
      {{unknown, "--weights-size", "1M"}, 4, 4, "bounded", "estimated", "estimated"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.words.back());
    const Json parts = {{"weights", row.weights}, {"caches", row.caches}, {"compute", row.compute}};
    const Words plan = joined({"plan", "--check"}, row.words);
    EXPECT_EQ(json_of(plan, row.plan).at("certainty"), parts);
    const Words fit = joined({"fit", "--check", "--host-memory", "1GiB"}, row.words);
    const Json choices = json_of(fit, row.fit).at("choices");
    EXPECT_EQ(choices.empty(), row.fit == 3);
    for (const Json& choice : choices) EXPECT_EQ(choice.at("certainty"), parts);
    EXPECT_EQ(run(plan).err.empty(), row.plan == 0);
    EXPECT_EQ(run(joined({"plan"}, row.words)).exit_code, 0);
  }
}

/// The options of `fit`, and the flags that it prints for an engine.
struct FlagsRow {
  Words words;
  const char* flags;
};

TEST_F(CertaintyOf, FlagsAreThoseThatTheFitDetermined) {
  const FlagsRow rows[] = {
      {{"llama.cpp", "--gpu-memory", "1GiB"},
       "--ctx-size 1024 --parallel 1 --batch-size 2048 --ubatch-size 512 --cache-type-k f16 "
       "--cache-type-v f16 --flash-attn on --gpu-layers 4"},
      {{"llama.cpp"},
       "--ctx-size 1024 --parallel 1 --batch-size 2048 --ubatch-size 512 --cache-type-k f16 "
       "--cache-type-v f16 --flash-attn on --gpu-layers 0"},
      {{"llama.cpp", "--gpu-memory", "1KiB", "--context", "512", "--sequences", "2", "--unified",
        "--batch", "256", "--ubatch", "128", "--kv", "f16,bf16", "--flash-attention", "off",
        "--swa-full"},
       "--ctx-size 512 --parallel 2 --kv-unified --batch-size 256 --ubatch-size 128 --cache-type-k "
       "f16 --cache-type-v bf16 --flash-attn off --swa-full --gpu-layers 0"},
      {{"vllm", "--gpu-memory", "1GiB"},
       "--max-model-len 1024 --max-num-seqs 1 --max-num-batched-tokens 512"},
      {{"vllm", "--gpu-memory", "1GiB", "--context", "512", "--sequences", "4", "--ubatch", "64",
        "--kv", "f8_e5m2"},
       "--max-model-len 128 --max-num-seqs 4 --max-num-batched-tokens 64 --kv-cache-dtype "
       "fp8_e5m2"},
  };
  const Words fit = {"fit", folder_.write("m.gguf", gguf_model().bytes()), "--host-memory", "1GiB",
                     "--print-flags"};
  for (const FlagsRow& row : rows) {
    SCOPED_TRACE(row.flags);
    const Ran result = run(joined(fit, row.words));
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.out, std::string(row.flags) + "\n");
    EXPECT_EQ(result.err, "");
  }
}

TEST_F(CertaintyOf, FlagsArePrintedOnlyForWhatTheEngineReads) {
  const TempFolder model;
  model.write("config.json", kUntyped);
  model.write("model.safetensors", safetensors("{" + tensor_json("a", "F32", "2", 0, 8) + "}", 8));
  folder_.write("m-00002-of-00002.gguf", gguf_model(3, 1, 2).bytes());
  const auto written = [&](const char* name, const GgufBytes& gguf) {
    return folder_.write(name, gguf.bytes()).string();
  };
  struct Row {
    std::string model;
    const char *llama_cpp, *vllm;  // what it does not read; empty if it reads the model
  };
  const Row rows[] = {
      {written("v3.gguf", gguf_model(3)), "", ""},
      {written("v2.gguf", gguf_model(2)), "", ""},
      {written("v1.gguf", gguf_model(1)), "GGUF files of version 1", "GGUF files of version 1"},
      {written("m-00001-of-00002.gguf", gguf_model(3, 0, 2)), "", "GGUF models of several files"},
      {folder_.write("config.json", kUntyped), "a config.json", ""},
      {model.path(), "safetensors files", ""},
      {model_, "files of llama2.c", "files of llama2.c"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.model);
    for (const auto& [engine, name, unread] : {std::tuple("llama.cpp", "llama.cpp", row.llama_cpp),
                                               std::tuple("vllm", "vLLM", row.vllm)}) {
      const Ran ran = run({"fit", row.model, "--gpu-memory", "1GiB", "--print-flags", engine});
      if (*unread == '\0') {
        EXPECT_EQ(ran.exit_code, 0) << ran.err;
      } else {
        EXPECT_TRUE(refuses(ran, name + std::string(" does not read ") + unread + "; "));
      }
    }
  }
}

TEST_F(CertaintyOf, FlagsArePrintedOnlyForWhatTheEngineRuns) {
  const std::string gguf = folder_.write("m.gguf", gguf_model().bytes());
  const auto flags = [&](const Words& more) { return run(joined({"fit", "--print-flags"}, more)); };
  for (const Words& words : {Words{"vllm", gguf, "--host-memory", "1GiB"},
                             Words{"llama.cpp", gguf, "--host-memory", "1KiB"}}) {
    EXPECT_EQ(flags(words).exit_code, 3);
    EXPECT_EQ(flags(words).out, "");
    EXPECT_NE(flags(words).err, "");
  }
  const Ran quantized = flags({"vllm", gguf, "--gpu-memory", "1GiB", "--kv", "q8_0"});
  EXPECT_EQ(quantized.exit_code, 2);
  EXPECT_THAT(quantized.err, Like("tapedeck: vLLM has no caches of type q8_0; *\n"));
  const std::string untyped = folder_.write("untyped.json", kUntyped);
  const Ran estimated = flags({"vllm", untyped, "--gpu-memory", "1GiB", "--check"});
  EXPECT_EQ(estimated.exit_code, 4);
  EXPECT_THAT(estimated.out, Like("--max-model-len 128 *\n"));
  EXPECT_THAT(estimated.err, Like("tapedeck: warning: *\n..."));
}

}  // namespace
}  // namespace tapedeck::tests
