// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

class MakeModel : public ::testing::Test {
 protected:
  Words make(const Words& more) { return joined({"make-model", folder_ / "m"}, more); }
  [[nodiscard]] bool nothing_there() const { return std::filesystem::is_empty(folder_.path()); }

  TempFolder folder_;
};

TEST_F(MakeModel, MakesTheShapeThatWasAskedAndDecodesIt) {
  const Ran ran = run(make({"--dim", "24", "--layers", "2", "--heads", "4", "--kv-heads", "2",
                            "--ffn", "50", "--vocab", "300", "--seq-len", "20", "--seed", "7"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, (folder_ / "m").string() +
                         ": 70.7 KiB, dim 24, 2 layers, 4 heads, 2 KV heads, ffn 50, 300 tokens, "
                         "length 20\n");
  EXPECT_EQ(content_of(folder_ / "m"), content_of(made(folder_, "same", kSmall, 7)));
  const Ran decoded = run({"decode", folder_ / "m", "-p", "ba"});
  EXPECT_EQ(decoded.exit_code, 0);
  EXPECT_TRUE(decoded.out.starts_with("ba"));
}

TEST_F(MakeModel, TheRestFollowsFromDim) {
  for (const char* dim : {"2", "10", "64", "100", "288"}) {
    ASSERT_EQ(run(make({"--dim", dim, "--layers", "1", "--force"})).exit_code, 0);
    const llama::LlamaModel model(folder_ / "m");
    EXPECT_EQ(model.shape().dim, std::stoul(dim));
    EXPECT_EQ(run({"decode", folder_ / "m", "-n", "3"}).exit_code, 0);
  }
  EXPECT_THAT(run(make({"--dim", "288", "--layers", "1", "--force"})).err,
              Like("*: *, dim 288, 1 layer, 6 heads, 6 KV heads, ffn 768, 32000 tokens, "
                   "length 2048\n"));
}

TEST_F(MakeModel, ReplacesAFileOnlyIfItIsForcedTo) {
  const Words words = make({"--dim", "8", "--layers", "1"});
  for (const char* name : {"m", "m.tokenizer"}) {
    const std::string there = folder_.write(name, "mine");
    EXPECT_TRUE(refuses(run(words), there + " exists already; write to another file, or "));
    EXPECT_EQ(content_of(there), "mine");
    EXPECT_EQ(run(joined(words, {"--force"})).exit_code, 0);
    EXPECT_NE(content_of(there), "mine");
    std::filesystem::remove(folder_ / "m");
    std::filesystem::remove(folder_ / "m.tokenizer");
  }
}

TEST_F(MakeModel, ASignalLeavesNoFile) {
  // Half a gigabyte. It is interrupted as soon as a part of it is written.
  Program program(make({"--dim", "1024", "--layers", "8"}));
  EXPECT_TRUE(program.has_written());
  program.send(SIGINT);
  const Ran ran = program.wait();
  EXPECT_EQ(ran.exit_code, 130);
  EXPECT_EQ(ran.err, "");
  EXPECT_TRUE(nothing_there());
}

}  // namespace
}  // namespace tapedeck::tests
