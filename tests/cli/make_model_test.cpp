#include <gmock/gmock.h>

#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MakeModel : public ::testing::Test {
 protected:
  Words make(const std::string& name, const Words& more) {
    Words words = {"make-model", folder_ / name};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] bool nothing_there() const { return std::filesystem::is_empty(folder_.path()); }

  TempFolder folder_;
};

TEST_F(MakeModel, MakesTheShapeThatWasAskedAndDecodesIt) {
  const Ran ran =
      run(make("m", {"--dim", "24", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--ffn",
                     "50", "--vocab", "300", "--seq-len", "20", "--seed", "7"}));
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("dim 24, 2 layers, 4 heads, 2 KV heads, ffn 50"));
  EXPECT_EQ(content_of(folder_ / "m"), content_of(made(folder_, "same", kSmall, 7)));
  const Ran decoded = run({"decode", folder_ / "m", "-p", "ba"});
  EXPECT_EQ(decoded.exit_code, 0);
  EXPECT_TRUE(decoded.out.starts_with("ba"));
}

TEST_F(MakeModel, TheRestFollowsFromDim) {
  for (const char* dim : {"2", "10", "64", "100", "288"}) {
    ASSERT_EQ(run(make("m", {"--dim", dim, "--layers", "1"})).exit_code, 0);
    const llama::LlamaModel model(folder_ / "m");
    EXPECT_EQ(model.shape().dim, std::stoul(dim));
    EXPECT_EQ(run({"decode", folder_ / "m", "-n", "3"}).exit_code, 0);
  }
  const llama::Shape shape = llama::LlamaModel(folder_ / "m").shape();
  EXPECT_EQ(shape.heads, 6U);
  EXPECT_EQ(shape.kv_heads, 6U);
  EXPECT_EQ(shape.ffn, 768U);
  EXPECT_EQ(shape.vocab, 32'000U);
  EXPECT_EQ(shape.seq_len, 2048U);
}

TEST_F(MakeModel, BadInputIsOneLineExitCode2AndNoFile) {
  EXPECT_TRUE(refuses(run({"make-model"}), "required"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "64"})), "--layers is required"));
  EXPECT_TRUE(refuses(run(make("m", {"--layers", "1"})), "--dim is required"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "x", "--layers", "1"})), "--dim"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "-64", "--layers", "1"})), "--dim"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "0", "--layers", "1"})), "dim is 0"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "7", "--layers", "1"})), "odd"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "64", "--layers", "1", "--heads", "3"})), "divide"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "64", "--layers", "1", "--heads", "0"})), "is 0"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "64", "--layers", "1", "--vocab", "99"})), "259"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "99999999999", "--layers", "1"})), "32 bits"));
  EXPECT_TRUE(refuses(run(make("m", {"--dim", "100000000", "--layers", "1000"})), ""));
  EXPECT_TRUE(nothing_there());

  EXPECT_TRUE(refuses(run(make("no/m", {"--dim", "64", "--layers", "1"})), "ENOENT"));
  EXPECT_TRUE(refuses(run({"make-model", "/dev/full", "--dim", "64", "--layers", "1"}),
                      "not a regular file"));
  EXPECT_TRUE(refuses(run({"make-model", folder_.path(), "--dim", "64", "--layers", "1"}),
                      "not a regular file"));
  EXPECT_TRUE(nothing_there());
}

TEST_F(MakeModel, ASignalLeavesNoFile) {
  // Half a gigabyte: interrupted as soon as there is a file.
  Program program(make("m", {"--dim", "1024", "--layers", "8"}));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (nothing_there() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.send(SIGINT);
  const Ran ran = program.wait();
  EXPECT_EQ(ran.exit_code, 130);
  EXPECT_THAT(ran.err, IsEmpty());
  EXPECT_TRUE(nothing_there());
}

}  // namespace
}  // namespace tapedeck::tests
