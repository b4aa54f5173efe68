// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "llama/gguf_model.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using llama::Shape;
using llama::TokenId;
const std::string kModel = kStories / "stories260K.bin";
const std::string kTokenizer = kStories / "tok512.bin";

const std::string kSpeed = "* tokens in * s, * tokens/s\n";

Words stories(const Words& more) {
  return joined({"decode", kModel, "--tokenizer", kTokenizer}, more);
}

// The ids that `--ids` printed, or only the first `most` of them.
std::vector<TokenId> ids_in(const std::string& out, std::size_t most = SIZE_MAX) {
  std::istringstream words(out);
  std::vector<TokenId> ids{std::istream_iterator<TokenId>(words), {}};
  ids.resize(std::min(ids.size(), most));
  return ids;
}

class DecodeStories : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { SKIP_WITHOUT_STORIES(); }
};

INSTANTIATE_TEST_SUITE_P(Threads, DecodeStories, ::testing::Values("1", "2", "3"));

TEST_P(DecodeStories, LayersMayTakeTurnsOnADevice) {
  const char* const turns = "* resident, * taking turns in 2 slots of *";
  for (const auto& [memory, layers] : {std::pair("900KiB", turns),
                                       {"1200KiB", turns},
                                       {"64MiB", "5 resident, 0 taking turns in *"}}) {
    const Ran ran = run(stories({"-p", kStoriesPrompts[1], "-n", "256", "--threads", GetParam(),
                                 "--device", "host-sim", "--gpu-memory", memory, "--stat"}));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.out, content_of(expected_file(2, "text")));
    // The figures of the device, without those of the host's tapes, which are empty.
    EXPECT_THAT(unwrapped(ran.err),
                Like("weights: * | scratch: * | history: * | 32 tokens\n...\n" + kSpeed +
                     "layout: *\ngpu0: *\ngpu0 weights: *\ngpu0 scratch: *\ngpu0 history: *\n"
                     "phase load: *\nphase prefill: *\nphase decode: *\nlayers: " +
                     layers + "\n"));
  }
  EXPECT_TRUE(refuses(run(stories({"--device", "host-sim", "--gpu-memory", "300KiB"})),
                      "layer streaming on simulated device 0 needs "));
}

TEST_P(DecodeStories, AutoDecodesWhereItCan) {
  const Ran ran = run(stories(
      {"-p", kStoriesPrompts[0], "-n", "256", "--threads", GetParam(), "--device", "auto"}));
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_TRUE(ran.err.starts_with("decoding on ")) << ran.err;
  EXPECT_EQ(ran.out, content_of(expected_file(1, "text")));
}

TEST_P(DecodeStories, SeveralPromptsAreSeveralTalks) {
  std::string ids;
  std::string text;
  Words prompts = {"-n", "256", "--threads", GetParam()};
  for (int n = 1; n <= 3; ++n) {
    ids += content_of(expected_file(n, "tokens"));
    text += content_of(expected_file(n, "text"));
    prompts.insert(prompts.end(), {"-p", kStoriesPrompts[n - 1]});
  }
  EXPECT_EQ(run(stories(prompts)).out, text);
  prompts.emplace_back("--ids");
  const Ran ran = run(stories(prompts));
  EXPECT_EQ(ran.out, ids);
  EXPECT_THAT(ran.err, Like("644 tokens in * s, * tokens/s\n"));
}

const std::filesystem::path kGguf = shared_data("gguf");

class DecodeGguf : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_STORIES();
    if (const auto why = no_shared_data(std::string("gguf/") + GetParam())) GTEST_SKIP() << *why;
  }
};

INSTANTIATE_TEST_SUITE_P(Files, DecodeGguf,
                         ::testing::Values("stories260K.gguf", "stories260K-F16.gguf",
                                           "tinyllamas-stories-260k-f32.v1.gguf"));

TEST_P(DecodeGguf, TextIsThatOfTheReferenceHoweverItIsLoaded) {
  for (const auto& [way, n] : {std::pair{"automatic", 1}, {"map", 2}, {"read", 3}, {"direct", 2}}) {
    const Ran ran = run({"decode", kGguf / GetParam(), "-p", kStoriesPrompts[n - 1], "-n", "256",
                         "--way", way, "--threads", "2"});
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_EQ(ran.out, content_of(expected_file(n, "text")));
    EXPECT_THAT(ran.err, Like(kSpeed));
  }
}

TEST_P(DecodeGguf, ATokenizerFileMayBeGiven) {
  const Ran ran = run({"decode", kGguf / GetParam(), "--tokenizer", kTokenizer, "--ids", "-n",
                       "256", "-p", kStoriesPrompts[1]});
  EXPECT_EQ(ran.out, content_of(expected_file(2, "tokens")));
}

class Decode : public ::testing::Test {
 protected:
  Words decode(const Words& more) { return joined({"decode", model_}, more); }

  TempFolder folder_;
  std::string model_ = made_small();
};

TEST_F(Decode, PositionsCountThePromptToo) {
  const std::string gguf = folder_.write("m.gguf", made_gguf().bytes());
  for (const auto& [more, ids] :
       {std::pair<Words, std::size_t>({model_, "-p", "ba", "-n", "7"}, 8),  // and one that follows
        {{model_, "-p", "ba", "-n", "0"}, 21},
        {{model_, "-n", "999"}, 21},
        {{model_}, 21},  // no prompt means an empty one
        {{gguf, "-p", "ab"}, 21},
        {{gguf, "-p", "ab", "-n", "0"}, 21},
        {{gguf, "-p", "ab", "-n", "7"}, 8},
        {{gguf, "-p", "ab", "-n", "50"}, 51}}) {  // a GGUF model gets more context on request
    EXPECT_EQ(ids_in(run(joined({"decode", "--ids"}, more)).out).size(), ids) << more.back();
  }
}

TEST_F(Decode, WithoutABosTheFirstTokenIsTextToo) {
  GgufModel model = made_gguf();
  model.set("tokenizer.ggml.add_bos_token", gguf_type::boolean, false);
  const std::string file = folder_.write("m.gguf", model.bytes());
  EXPECT_TRUE(run({"decode", file, "-p", "abc", "-n", "3"}).out.starts_with("abc"));
  EXPECT_TRUE(refuses(run({"decode", file}), "the prompt has no tokens; "));
}

TEST_F(Decode, WithoutAGpuItSaysWhy) {
  if (CudaDevice::support().devices != 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_TRUE(refuses(run(decode({"--device", "gpu"})), ""));
}

TEST_F(Decode, AutoSaysWhyItIsTheCpuAndWhatIsNotUsed) {
  const Variable no_gpu("CUDA_VISIBLE_DEVICES", "");
  const Ran plain = run(decode({"--device", "auto", "-n", "3"}));
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_THAT(plain.err, Like("decoding on the CPU: *\n" + kSpeed));
  const std::string why = plain.err.substr(0, plain.err.find('\n'));
  EXPECT_FALSE(why.ends_with("in f32")) << why;
  EXPECT_THAT(
      run(decode({"--device", "auto", "-n", "3", "--activations", "f16", "--gpu-memory", "1GiB"}))
          .err,
      Like(why + "; it computes in f32; --gpu-memory is not used\n" + kSpeed));
}

TEST_F(Decode, APromptIsTakenAsItIs) {
  const llama::Tokenizer tokenizer(model_ + ".tokenizer", kSmall.vocab);
  for (const std::string prompt :
       {"{}", "[a,b]", "-n", "--ids", "%%", "", "'a'", "a\\nb", "=", "--"}) {
    const std::vector<TokenId> expected = tokenizer.encode(prompt);
    const Ran ran = run(decode({"--ids", "-p", prompt}));
    EXPECT_EQ(ids_in(ran.out, expected.size()), expected) << prompt << ran.err;
  }
}

TEST_F(Decode, ASeedDrawsTheSameAndAnotherSeedOthers) {
  const auto drawn = [&](const std::string& seed) {
    return run(decode({"--ids", "--temperature", "1", "--seed", seed})).out;
  };
  EXPECT_EQ(drawn("5"), drawn("5"));
  EXPECT_NE(drawn("5"), drawn("6"));
}

TEST_F(Decode, StatGoesToStandardErrorALineEvery32Tokens) {
  const Ran ran = run(decode({"--stat", "-p", "", "-p", "", "-p", "", "-p", ""}));
  EXPECT_EQ(ran.exit_code, 0);
  // Each talk has 20 tokens: after 32 tokens the second has 12, after 64 the fourth has 4.
  // A token is K and V of two layers, 12 floats each: 192 bytes.
  const auto line = [](const char* used) {
    return "weights: */* KiB | scratch: 11.2/* KiB | history: " + std::string(used) + "/* KiB | ";
  };
  EXPECT_THAT(unwrapped(ran.err),
              Like(line("2.2") + "12 tokens\n" + line("768 B") + "4 tokens\n80 tokens in *\n" +
                   "layout: *, passes 80, conversations 3, *\n"
                   "weights: *\nscratch: *, clears 84, *\nhistory: *, clears 4, *\n"
                   "phase load: *\nphase prefill: *\nphase decode: *\n"));
  const std::string one = run(decode({})).out;
  EXPECT_EQ(ran.out, one + one + one + one);
}

TEST_F(Decode, AStatLineBeginsALineOfItsOwnWhereTheTextIs) {
  Pipe both;
  const int end = both.write.get();
  EXPECT_EQ(
      run(decode({"--stat", "-p", "", "-p", "", "-p", "", "-p", ""}), {.out = end, .err = end})
          .exit_code,
      0);
  both.write.close();
  const std::string all = both.read.read_all();
  const std::regex line("\nweights: [^\n]* tokens\n");
  EXPECT_EQ(std::distance(std::sregex_iterator(all.begin(), all.end(), line), {}), 2);
  const std::string one = run(decode({})).out;
  EXPECT_TRUE(
      std::regex_replace(all, line, "").starts_with(one + one + one + one + "80 tokens in "))
      << all;
}

TEST_F(Decode, WarnsOfMorePositionsThanTheModelHas) {
  const Ran more = run(decode({"-n", "21"}));
  EXPECT_EQ(more.exit_code, 0);
  EXPECT_THAT(more.err, Like("warning: --positions of 21 exceeds the model's context of 20 tokens, "
                             "beyond which a llama2.c model cannot go; each conversation ends "
                             "there\n20 tokens in *\n"));
  EXPECT_THAT(run(decode({"-n", "20"})).err, Like("20 tokens in *\n"));
}

TEST_F(Decode, OnATerminalTheStatLineIsRewrittenInPlace) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  Terminal terminal;
  EXPECT_EQ(run(decode({"--stat", "-n", "5"}), {.err = terminal.side.get()}).exit_code, 0);
  const std::string first = "\rweights: * 1 token\x1b[K";
  const std::string line = "\rweights: * tokens\x1b[K";
  EXPECT_THAT(terminal.printed(),
              Like(first + line + line + line + line + "\r\n5 tokens in *\r\n...\n"));
}

TEST_F(Decode, OnTheTerminalOfTheTextTheStatLineIsBelowIt) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  Terminal terminal;
  const int side = terminal.side.get();
  EXPECT_EQ(run(decode({"--stat", "-n", "5"}), {.out = side, .err = side}).exit_code, 0);
  // Each line of statistics is drawn between saving and restoring the position of the text, and is
  // erased before the text continues. Without these lines only the text is left.
  const std::string all = terminal.printed();
  const std::regex drawn(R"(\x1bD\x1b\[A\x1b7\x1b\[B\rweights: [^\x1b]*\x1b\[K\x1b8\x1b\[J)");
  EXPECT_EQ(std::distance(std::sregex_iterator(all.begin(), all.end(), drawn), {}), 5);
  std::string text = run(decode({"-n", "5"})).out;
  text = std::regex_replace(text, std::regex("\n"), "\r\n");  // as a terminal displays it
  EXPECT_TRUE(std::regex_replace(all, drawn, "").starts_with(text + "5 tokens in ")) << all;
}

TEST_F(Decode, AContextTakesOnlyTheRequestedMemory) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer leaves fewer addresses than this";
#endif
  // A valid model whose longest talk needs more memory than any machine has: 4 TB.
  const Shape shape = {.dim = 2,
                       .ffn = 1,
                       .layers = 4000,
                       .heads = 1,
                       .kv_heads = 1,
                       .vocab = 259,
                       .seq_len = 62'500'000};
  std::string header(28, '\0');
  const std::array<std::int32_t, 7> fields = {2, 1, 4000, 1, 1, 259, 62'500'000};
  std::memcpy(header.data(), fields.data(), header.size());
  const auto model = folder_.write("long", header);
  std::error_code error;
  std::filesystem::resize_file(model, *cli::checkpoint_bytes(shape), error);
  if (error) GTEST_SKIP() << "cannot create a sparse file of 500 MB: " << error.message();
  const std::string tokenizer =
      made(folder_, "t",
           {.dim = 2, .ffn = 1, .layers = 1, .heads = 1, .kv_heads = 1, .vocab = 259, .seq_len = 1})
          .string() +
      ".tokenizer";
  const Ran said = run({"decode", model, "--tokenizer", tokenizer, "-n", "5", "--stat"});
  EXPECT_EQ(said.exit_code, 0) << said.err;
  EXPECT_THAT(unwrapped(said.err),
              Like("...\nhistory: *, committed 31.2 MiB, planned 3.6 TiB, *\n...\n"));
  if (read_model(model).tensors.files()[0].unwritten != 0) {
    EXPECT_THAT(said.err, Like("warning: long has holes: *\n..."));
  }
  const Ran longest = run({"decode", model, "--tokenizer", tokenizer, "-n", "0"});
  EXPECT_EQ(longest.exit_code, 2);
  EXPECT_THAT(longest.err, Like("...\ntapedeck: committing tape history needs 3.6 TiB, *\n"));
}

TEST_F(Decode, AFileItMayNotReadIsOneLineToo) {
  const auto nobody = as_nobody();
  if (!nobody) GTEST_SKIP() << "no other user can run the program";
  const std::string closed = folder_.write("closed", content_of(model_));
  const std::string tokenizer = model_ + ".tokenizer";
  ASSERT_EQ(::chmod(closed.c_str(), 0), 0);
  for (const std::string& open : {model_, tokenizer}) ASSERT_EQ(::chmod(open.c_str(), 0644), 0);
  EXPECT_EQ(run(decode({}), *nobody).exit_code, 0);
  const std::string says = "open of " + closed + " failed: EACCES";
  EXPECT_TRUE(refuses(run({"decode", closed, "--tokenizer", tokenizer}, *nobody), says));
  EXPECT_TRUE(refuses(run(decode({"--tokenizer", closed}), *nobody), says));
}

TEST(Program, TellsItsVersionAndHelp) {
  EXPECT_THAT(run({"--version"}).out, Like("tapedeck *.*.*\n"));
  EXPECT_EQ(run({"version"}).out, run({"--version"}).out);
  EXPECT_THAT(run({"--help"}).out, Like("...\n  warm *\n...\n"));
  EXPECT_EQ(run({"help"}).out, run({"--help"}).out);
  for (const char* command : {"plan", "fit", "show", "warm", "resident", "decode", "make-model",
                              "gpus", "top", "report", "completion", "man", "help", "version"}) {
    const Ran help = run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, Like(std::string("*\nUsage: tapedeck ") + command + " *\n...\n"));
    EXPECT_EQ(help.err, "");
    EXPECT_EQ(run({"help", command}).out, help.out);
  }
}

}  // namespace
}  // namespace tapedeck::tests
