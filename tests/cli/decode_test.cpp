#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "llama/gguf_model.hpp"
#include "tapedeck/device/cuda_device.hpp"

namespace tapedeck::tests {
namespace {

using llama::Shape;
using llama::TokenId;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

const std::string kModel = kStories / "stories260K.bin";
const std::string kTokenizer = kStories / "tok512.bin";

Words stories(const Words& more) {
  Words words = {"decode", kModel, "--tokenizer", kTokenizer};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class DecodeStories : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { SKIP_WITHOUT_STORIES(); }
};

INSTANTIATE_TEST_SUITE_P(Threads, DecodeStories, ::testing::Values("1", "2", "3"));

TEST_P(DecodeStories, TextIsThatOfTheReference) {
  for (int n = 1; n <= 3; ++n) {
    const Ran ran =
        run(stories({"-p", kStoriesPrompts[n - 1], "-n", "256", "--threads", GetParam()}));
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_EQ(ran.out, content_of(expected_file(n, "text")));
    EXPECT_THAT(ran.err, MatchesRegex("[0-9]+ tokens in [0-9.]+ s, [0-9.]+ tokens/s\n"));
  }
}

TEST_P(DecodeStories, LayersMayTakeTurnsOnADevice) {
  for (const char* memory : {"900KiB", "1200KiB", "64MiB"}) {
    const Ran ran = run(stories({"-p", kStoriesPrompts[1], "-n", "256", "--threads", GetParam(),
                                 "--device", "host-sim", "--gpu-memory", memory, "--stat"}));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.out, content_of(expected_file(2, "text")));
    const bool all = memory == std::string("64MiB");
    EXPECT_THAT(ran.err, HasSubstr(all ? "layers: 5 stay, 0 take turns" : "take turns in 2 slots"));
    // The figures of the device, and none of tapes of the host, which it leaves empty.
    EXPECT_THAT(ran.err, HasSubstr(" MB | 32 tokens\n"));
    EXPECT_THAT(ran.err, Not(HasSubstr("\nhistory:")));
    EXPECT_THAT(ran.err, HasSubstr("\ngpu0 history:"));
  }
  const Ran ran = run(stories({"--device", "host-sim", "--gpu-memory", "300KiB"}));
  EXPECT_TRUE(refuses(ran, "layer streaming on host 0"));
  EXPECT_THAT(ran.err, HasSubstr("300 KiB"));
  EXPECT_TRUE(refuses(run(stories({"--gpu-memory", "1GiB"})), "--device"));
  EXPECT_TRUE(refuses(run(stories({"--activations", "f16"})), "--device gpu"));
  EXPECT_TRUE(refuses(run(stories({"--activations", "f64"})), "--activations"));
  for (const char* device : {"host-sim", "gpu", "auto"}) {
    EXPECT_TRUE(refuses(run(stories({"--device", device, "--gpu-memory", "0"})), "--gpu-memory"));
  }
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
  EXPECT_THAT(ran.err, HasSubstr("644 tokens in "));
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
  for (const char* way : {"automatic", "map", "read", "direct"}) {
    for (int n = 1; n <= 3; ++n) {
      const Ran ran = run({"decode", kGguf / GetParam(), "-p", kStoriesPrompts[n - 1], "-n", "256",
                           "--way", way, "--threads", "2"});
      EXPECT_EQ(ran.exit_code, 0);
      EXPECT_EQ(ran.out, content_of(expected_file(n, "text")));
      EXPECT_THAT(ran.err, MatchesRegex("[0-9]+ tokens in [0-9.]+ s, [0-9.]+ tokens/s\n"));
    }
  }
}

TEST_P(DecodeGguf, ATokenizerFileMayBeGiven) {
  const Ran ran = run({"decode", kGguf / GetParam(), "--tokenizer", kTokenizer, "--ids", "-n",
                       "256", "-p", kStoriesPrompts[1]});
  EXPECT_EQ(ran.out, content_of(expected_file(2, "tokens")));
}

class Decode : public ::testing::Test {
 protected:
  Words decode(const Words& more) {
    Words words = {"decode", model_};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  TempFolder folder_;
  std::string model_ = made_small();
};

TEST_F(Decode, PositionsCountThePromptToo) {
  const auto ids = [&](const Words& more) {
    std::istringstream words(run(decode(more)).out);
    return std::distance(std::istream_iterator<TokenId>(words), {});
  };
  EXPECT_EQ(ids({"--ids", "-p", "ba", "-n", "7"}), 8);  // and one that follows
  EXPECT_EQ(ids({"--ids", "-p", "ba", "-n", "0"}), 21);
  EXPECT_EQ(ids({"--ids", "-n", "999"}), 21);
  EXPECT_EQ(ids({"--ids"}), 21);  // no prompt is an empty one
}

TEST_F(Decode, AGgufModelIsGivenMoreThanItIsMadeForWhereMoreIsAskedFor) {
  const std::string file = folder_.write("m.gguf", made_gguf().bytes());
  const auto ids = [&](const Words& more) {
    Words words = {"decode", file, "--ids", "-p", "ab"};
    words.insert(words.end(), more.begin(), more.end());
    std::istringstream tokens(run(words).out);
    return std::distance(std::istream_iterator<TokenId>(tokens), {});
  };
  EXPECT_EQ(ids({}), 21);
  EXPECT_EQ(ids({"-n", "0"}), 21);
  EXPECT_EQ(ids({"-n", "7"}), 8);
  EXPECT_EQ(ids({"-n", "50"}), 51);
  EXPECT_TRUE(refuses(run({"decode", file, "-n", "99999999999"}), "a talk of 99999999999 tokens"));
}

TEST_F(Decode, WithoutABosTheFirstTokenIsTextToo) {
  GgufModel model = made_gguf();
  model.set("tokenizer.ggml.add_bos_token", gguf_type::boolean, false);
  const std::string file = folder_.write("m.gguf", model.bytes());
  EXPECT_TRUE(run({"decode", file, "-p", "abc", "-n", "3"}).out.starts_with("abc"));
  EXPECT_TRUE(refuses(run({"decode", file}), "a prompt of no tokens"));
}

TEST_F(Decode, AGgufModelThatIsNotDecodedSaysWhy) {
  GgufModel model = made_gguf();
  model.set("tokenizer.ggml.model", "gpt2");
  const std::string other = folder_.write("gpt2.gguf", model.bytes());
  EXPECT_TRUE(refuses(run({"decode", other}), "--tokenizer FILE"));
  model = made_gguf();
  model.set("general.architecture", "gemma");
  EXPECT_TRUE(refuses(run({"decode", folder_.write("g.gguf", model.bytes())}), "gemma"));
  const std::string bytes = made_gguf().bytes();
  const std::string cut = folder_.write("cut.gguf", bytes.substr(0, bytes.size() - 100));
  EXPECT_TRUE(refuses(run({"decode", cut}), "ends before its tensors do"));
  EXPECT_TRUE(refuses(run(decode({"--way", "shared"})),
                      "--way: shared not in {automatic,map,read,direct}\n"));
}

TEST_F(Decode, WithoutAGpuItSaysWhy) {
  if (CudaDevice::support().devices != 0) GTEST_SKIP() << "there is a GPU";
  const Ran ran = run(decode({"--device", "gpu"}));
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, testing::AnyOf(HasSubstr("CUDA driver"), HasSubstr("nvcc")));
  const std::string names = " not in {cpu,gpu,auto,host-sim}\n";
  EXPECT_TRUE(refuses(run(decode({"--device", "tpu"})), "--device: tpu" + names));
  EXPECT_TRUE(refuses(run(decode({"--device", "1"})), "--device: 1" + names));
}

TEST_F(Decode, AutoSaysWhyItIsTheCpuAndWhatIsNotUsed) {
  const Variable no_gpu("CUDA_VISIBLE_DEVICES", "");
  const auto first_line = [&](const Words& more) {
    Words words = {"--device", "auto", "-n", "3"};
    words.insert(words.end(), more.begin(), more.end());
    const Ran ran = run(decode(words));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran.err.substr(0, ran.err.find('\n'));
  };
  const std::string plain = first_line({});
  EXPECT_THAT(plain, MatchesRegex("decoding on the CPU: .*(kernels|driver|GPU).*"));
  EXPECT_THAT(plain, Not(HasSubstr("f32")));
  EXPECT_EQ(first_line({"--activations", "f16", "--gpu-memory", "1GiB"}),
            plain + "; it computes in f32; --gpu-memory is not used");
}

TEST_F(Decode, APromptIsTakenAsItIs) {
  const llama::Tokenizer tokenizer(model_ + ".tokenizer", kSmall.vocab);
  for (const std::string prompt :
       {"{}", "[a,b]", "-n", "--ids", "%%", "", "'a'", "a\\nb", "=", "--"}) {
    const std::vector<TokenId> expected = tokenizer.encode(prompt);
    const Ran ran = run(decode({"--ids", "-p", prompt}));
    std::istringstream words(ran.out);
    std::vector<TokenId> ids{std::istream_iterator<TokenId>(words), {}};
    ASSERT_GE(ids.size(), expected.size()) << prompt << ran.err;
    ids.resize(expected.size());
    EXPECT_EQ(ids, expected) << prompt;
  }
}

TEST_F(Decode, ASeedDrawsTheSameAndAnotherSeedOthers) {
  const Words warm = {"--ids", "--temperature", "1", "--seed"};
  const auto drawn = [&](const std::string& seed) {
    Words words = warm;
    words.push_back(seed);
    return run(decode(words)).out;
  };
  EXPECT_EQ(drawn("5"), drawn("5"));
  EXPECT_NE(drawn("5"), drawn("6"));
}

TEST_F(Decode, StatGoesToStandardErrorALineEvery32Tokens) {
  Words words = {"--stat"};
  for (int talk = 0; talk < 4; ++talk) words.insert(words.end(), {"-p", ""});
  const Ran ran = run(decode(words));
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, Not(HasSubstr("MB")));
  // Talks of 20: after 32 tokens the second has 12, after 64 the fourth has 4.
  const std::string line = "weights: 0/0 MB | scratch: 0/0 MB | history: 0/0 MB | ";
  EXPECT_TRUE(ran.err.starts_with(line + "12 tokens\n" + line + "4 tokens\n80 tokens in "))
      << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("clears"));
  EXPECT_THAT(ran.err, HasSubstr("passes 80"));
  EXPECT_THAT(ran.err, Not(HasSubstr("\r")));
  EXPECT_EQ(run(decode({})).out + run(decode({})).out + run(decode({})).out + run(decode({})).out,
            ran.out);
}

TEST_F(Decode, OnATerminalTheStatLineIsRewrittenInPlace) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  Terminal terminal;
  Program program(decode({"--stat", "-n", "5"}), {.err = terminal.side->get()});
  const Ran ran = program.wait();
  const std::string err = terminal.printed();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_EQ(static_cast<int>(std::count(err.begin(), err.end(), 'w')) > 0, true);
  std::size_t rewritten = 0;
  for (std::size_t at = err.find("\rweights: "); at != std::string::npos;
       at = err.find("\rweights: ", at + 1)) {
    ++rewritten;
  }
  EXPECT_EQ(rewritten, 5U);
  EXPECT_THAT(err, HasSubstr("\x1b[K\r\n5 tokens in "));
}

TEST_F(Decode, OnTheTerminalOfTheTextTheStatLineIsBelowIt) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  Terminal terminal;
  Program program(decode({"--stat", "-n", "5"}),
                  {.out = terminal.side->get(), .err = terminal.side->get()});
  EXPECT_EQ(program.wait().exit_code, 0);
  std::string all = terminal.printed();
  // Each line of statistics is drawn between saving and restoring the place of the text, and erased
  // before the text goes on: without them the text is left.
  std::size_t drawn = 0;
  for (std::size_t at = all.find("\x1b"
                                 "D");
       at != std::string::npos; at = all.find("\x1b"
                                              "D")) {
    const std::size_t end = all.find(
        "\x1b"
        "8",
        at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_THAT(all.substr(at, end - at), HasSubstr("weights: "));
    EXPECT_EQ(all.compare(end + 2, 3, "\x1b[J"), 0) << "not erased";
    all.erase(at, end + 5 - at);
    ++drawn;
  }
  EXPECT_EQ(drawn, 5U);
  std::string text = run(decode({"-n", "5"})).out;
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2)) {
    text.insert(at, "\r");  // as a terminal shows it
  }
  EXPECT_TRUE(all.starts_with(text + "5 tokens in ")) << all;
}

TEST_F(Decode, BadInputIsOneLineAndExitCode2) {
  const std::string tokenizer = model_ + ".tokenizer";
  const std::string commands =
      "a subcommand is required: plan, fit, show, warm, resident, decode, make-model, gpus, "
      "top, report; ";
  EXPECT_TRUE(refuses(run({}), commands));
  EXPECT_TRUE(refuses(run({"nonsense"}), commands));
  EXPECT_TRUE(refuses(run({"--bogus"}), ""));
  EXPECT_TRUE(refuses(run({"decode"}), "MODEL is required"));
  EXPECT_TRUE(refuses(run(decode({"--bogus"})), "--bogus"));
  EXPECT_TRUE(refuses(run(decode({"second"})), "second"));
  EXPECT_TRUE(refuses(run(decode({"-p"})), "--prompt"));
  EXPECT_TRUE(refuses(run(decode({"-n", "x"})), "--positions"));
  EXPECT_TRUE(refuses(run(decode({"-n", "-1"})), "--positions"));
  EXPECT_TRUE(refuses(run(decode({"-n", "99999999999999999999"})), "--positions"));
  EXPECT_TRUE(refuses(run(decode({"--threads", "0"})), "--threads"));
  EXPECT_TRUE(refuses(run(decode({"--threads", "1025"})), "--threads"));
  EXPECT_TRUE(refuses(run(decode({"--seed", "1.5"})), "--seed"));
  EXPECT_TRUE(refuses(run(decode({"--temperature", "-1"})), "temperature"));
  EXPECT_TRUE(refuses(run(decode({"--temperature", "nan"})), "temperature"));
  EXPECT_TRUE(refuses(run(decode({"--temperature", "warm"})), "temperature"));

  EXPECT_TRUE(refuses(run({"decode", folder_ / "missing"}), "missing failed: ENOENT"));
  EXPECT_TRUE(refuses(run({"decode", ""}), "ENOENT"));
  EXPECT_TRUE(refuses(run({"decode", folder_.path()}), "is not a regular file"));
  EXPECT_TRUE(refuses(run({"decode", "/dev/null"}), "is not a regular file"));
  EXPECT_TRUE(refuses(run({"decode", model_ + "/x"}), "ENOTDIR"));
  EXPECT_TRUE(refuses(run(decode({"--tokenizer", folder_ / "missing"})), "missing failed: ENOENT"));
  EXPECT_TRUE(refuses(run(decode({"--tokenizer", folder_.path()})), "is not a regular file"));
  EXPECT_TRUE(refuses(run(decode({"--tokenizer", model_})), "tokenizer of this model?"));
  EXPECT_TRUE(refuses(run({"decode", tokenizer, "--tokenizer", tokenizer}), "checkpoint"));
  EXPECT_TRUE(refuses(run({"decode", folder_ / "two\nlines"}), "two\\x0alines"));

  const std::string bytes = content_of(model_);
  const std::string alone = folder_.write("alone", bytes);
  EXPECT_TRUE(refuses(run({"decode", alone}), "give --tokenizer FILE"));
  const std::string cut = folder_.write("cut", bytes.substr(0, bytes.size() - 1));
  EXPECT_TRUE(
      refuses(run({"decode", cut, "--tokenizer", tokenizer}), "ends before its tensors do"));
  const std::string empty = folder_.write("empty", "");
  EXPECT_TRUE(refuses(run({"decode", empty, "--tokenizer", tokenizer}), "ends inside the header"));
  std::string giant = bytes;
  overwrite(giant, 4, std::int32_t{2'000'000'000});
  const std::string claim = folder_.write("claim", giant);
  EXPECT_TRUE(refuses(run({"decode", claim, "--tokenizer", tokenizer}), "bytes are missing"));
  const auto other = made(
      folder_, "other",
      {.dim = 24, .ffn = 50, .layers = 2, .heads = 4, .kv_heads = 2, .vocab = 301, .seq_len = 20});
  EXPECT_TRUE(refuses(run(decode({"--tokenizer", other.string() + ".tokenizer"})), "bytes after"));

  const std::string letters = "aXbXcXdXeXfXgXhXiXjXkX";
  EXPECT_TRUE(refuses(run(decode({"-p", letters})), "the model takes 20"));
  EXPECT_TRUE(refuses(run(decode({"-n", "3", "-p", "", "-p", "axbx"})), "the talk may have 3"));
  EXPECT_TRUE(refuses(run(decode({"-p", std::string(100'000, 'x')})), "the model takes 20"));
}

TEST_F(Decode, AContextCostsWhatWasSaidAndNotWhatIsAllowed) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer leaves fewer addresses than this";
#endif
  // A valid model whose longest talk takes more than any machine has: 4 TB.
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
  std::filesystem::resize_file(model, *llama::file_bytes(shape), error);
  if (error) GTEST_SKIP() << "no sparse file of 500 MB here: " << error.message();
  const std::string tokenizer =
      made(folder_, "t",
           {.dim = 2, .ffn = 1, .layers = 1, .heads = 1, .kv_heads = 1, .vocab = 259, .seq_len = 1})
          .string() +
      ".tokenizer";
  const Ran said = run({"decode", model, "--tokenizer", tokenizer, "-n", "5", "--stat"});
  EXPECT_EQ(said.exit_code, 0) << said.err;
  EXPECT_THAT(said.err, AllOf(HasSubstr("committed 31.2 MiB"), HasSubstr("planned 3.6 TiB")));
  EXPECT_TRUE(refuses(run({"decode", model, "--tokenizer", tokenizer, "-n", "0"}), ""));
}

TEST_F(Decode, AFileItMayNotReadIsOneLineToo) {
  const std::string closed = folder_.write("closed", content_of(model_));
  const std::string tokenizer = model_ + ".tokenizer";
  ASSERT_EQ(::chmod(closed.c_str(), 0), 0);
  for (const std::string& open : {model_, tokenizer}) ASSERT_EQ(::chmod(open.c_str(), 0644), 0);
  // Root reads everything, so somebody else tries.
  const uid_t nobody = ::geteuid() == 0 ? 65'534 : 0;
  const Ran readable = run(decode({}), {.user = nobody});
  if (readable.exit_code >= 126) GTEST_SKIP() << "user " << nobody << " cannot run the program";
  ASSERT_EQ(readable.exit_code, 0) << readable.err;
  EXPECT_TRUE(
      refuses(run({"decode", closed, "--tokenizer", tokenizer}, {.user = nobody}), "EACCES"));
  EXPECT_TRUE(refuses(run(decode({"--tokenizer", closed}), {.user = nobody}), "EACCES"));
}

TEST(Program, TellsItsVersionAndHelp) {
  const Ran version = run({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, MatchesRegex("tapedeck [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  for (const Words& words : {Words{"--help"}, {"decode", "--help"}, {"make-model", "--help"}}) {
    const Ran help = run(words);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, HasSubstr("Usage: tapedeck"));
    EXPECT_EQ(help.err, "");
  }
}

}  // namespace
}  // namespace tapedeck::tests
