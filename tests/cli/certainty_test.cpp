// What `plan` and `fit` say of assumptions and of unknown sizes.
#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <utility>

#include "cli/models.hpp"
#include "cli/program.hpp"
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

}  // namespace
}  // namespace tapedeck::tests
