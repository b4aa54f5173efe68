// SPDX-License-Identifier: Apache-2.0
// Input that every command must refuse: exit code 2, one line with the reason, and nothing done.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "cli/help.hpp"
#include "cli/models.hpp"
#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

class BadInput : public ::testing::Test {
 protected:
  // The words of a command line, with MODEL, OUT and FOLDER replaced by a model, a new file and its
  // folder.
  [[nodiscard]] Words words_of(const std::string& line) const {
    std::istringstream in(line);
    Words words;
    for (std::string word; in >> word;) {
      words.push_back(word == "MODEL"    ? model_
                      : word == "OUT"    ? out_
                      : word == "FOLDER" ? folder_.path().string()
                                         : word);
    }
    return words;
  }

  // The results must not depend on a GPU of this machine.
  const Variable no_gpu_{"CUDA_VISIBLE_DEVICES", ""};
  const std::string model_ = made_small();
  TempFolder folder_;
  const std::string out_ = folder_ / "out";
};

struct BadLine {
  const char* line;
  std::string says;              // the beginning of the message; `*` is the value
  const char* values = nullptr;  // the values that end the line, one after the other: "a|b"
};

// For faults that the library finds, the library's own tests check the whole message.
TEST_F(BadInput, CommandLines) {
  const std::string none =
      "a subcommand is required: plan, fit, show, warm, resident, decode, make-model, gpus, top, "
      "report, completion, man, help, version; ";
  const std::string unexpected = "unexpected argument *; tapedeck ";
  const std::string no_number = " must be a whole number, not *\n";
  const std::string no_size = " must be a size such as 24GiB, 1.5G, 512M or 1000, not *\n";
  const std::string too_large = " must be at most 18446744073709551615, not *\n";
  const std::string size_too_large = " must be at most 18446744073709551615 bytes, not *\n";
  const std::string no_memory = " must be a number greater than 0, not 0\n";
  const char* const most = "18446744073709551615";
  const std::string overflow = " of * makes the plan too large for 64 bits; use a smaller value\n";
  const std::string no_type =
      " must be a number type such as f32, f16, bf16, q8_0 or q4_k, not *\n";
  const std::string no_cache =
      "--kv must be f32, f16, bf16, f8_e4m3, f8_e5m2, i8, q8_0, q5_1, "
      "q5_0, q4_1, q4_0 or iq4_nl, or two of them (K,V), not *\n";
  const std::string no_way = "--way must be automatic, map, read or direct, not *\n";
  const std::string no_thread = "--threads must be from 1 to 1024, not *\n";
  const std::string no_model = "a model cannot be made: ";
  const std::string empty = " is empty; give a path\n";
  const std::string no_bus = "--bus and --tokens-per-second describe a device, but there is none; ";
  const std::string not_regular = " exists and is not a regular file\n";
  const std::string folder = folder_.path();
  for (const auto& [line, says, values] : std::vector<BadLine>{
           {"", none},
           {"frobnicate",
            "unknown subcommand frobnicate; the subcommands are plan, fit, show, warm, "},
           {"", "unknown subcommand *; did you mean plan?\n", "pln|plna|paln|plans|plen"},
           {"", "unknown subcommand *; did you mean make-model?\n", "makemodel|make_modle"},
           {"resdient MODEL", "unknown subcommand resdient; did you mean resident?\n"},
           {"", "unknown subcommand *; the subcommands are plan, fit, ", "x|plow|show-me"},
           {"--bogus", "unknown option --bogus; an option of a subcommand comes after "},
           {"", "MODEL is missing; tapedeck * --help describes its arguments\n",
            "plan|fit|show|warm|resident|decode"},
           {"make-model", "OUT is missing; tapedeck make-model --help "},
           {"make-model OUT --dim 64", "--layers is missing; tapedeck make-model --help "},
           {"completion", "SHELL is missing; tapedeck completion --help "},
           {"completion tcsh", "SHELL must be bash, zsh or fish, not tcsh\n"},
           {"man nonsense", "COMMAND must be plan, fit, "},
           {"help nonsense", "COMMAND must be plan, fit, "},
           {"help plan fit", "unexpected argument fit; tapedeck help --help "},
           {"version plan", "unexpected argument plan; tapedeck version --help "},
           {"man plan --folder FOLDER",
            "COMMAND and --folder exclude each other; leave one of them out\n"},
           {"man --folder /no/folder", "open of /no/folder/tapedeck-plan.1 failed: ENOENT"},
           {"make-model OUT --layers 1", "--dim is missing; tapedeck make-model --help "},
           {"report", "RECORDING is missing; tapedeck report --help "},
           {"gpus", unexpected, "0"},
           {"decode MODEL", unexpected, "second"},
           {"gpus", "unknown option --all; tapedeck gpus --help describes its arguments\n",
            "--all"},
           {"resident MODEL", "unknown option --bogus; tapedeck resident --help ", "--bogus"},
           {"gpus first second", "unexpected argument first; tapedeck gpus --help "},
           {"plan MODEL 5 --foo 6 --bar", "unknown option --foo; tapedeck plan --help "},
           {"plan -- MODEL second", "unexpected argument second; tapedeck plan --help "},
           {"plan MODEL --contxt 5", "unknown option --contxt; did you mean --context?\n"},

           {"plan MODEL --json=5", "--json takes no value; leave out =5\n"},
           {"plan MODEL --json=true", "--json takes no value; leave out =true\n"},
           {"plan MODEL --unified=", "--unified takes no value; leave out =\n"},
           {"plan --streaming=no MODEL", "--streaming takes no value; leave out =no\n"},
           {"fit MODEL --check=0", "--check takes no value; "},
           {"warm MODEL --lock=1", "--lock takes no value; "},
           {"decode MODEL --ids=1 -p a", "--ids takes no value; "},
           {"top --once=1", "--once takes no value; "},
           {"make-model OUT --dim 64 --layers 1 --force=no", "--force takes no value; "},
           {"gpus --help=5", "--help takes no value; "},
           {"--version=5", "--version takes no value; "},
           {"plan -- --json=5", "open of --json=5 failed: ENOENT"},
           {"decode MODEL -p", "--prompt needs a value; write --prompt TEXT\n"},
           {"warm MODEL --way", "--way needs a value; write --way automatic|map|read|direct\n"},
           {"plan MODEL --context 5 --context 6", "--context was given more than once; "},
           {"decode MODEL -n 3 -p a -p axbx", ""},
           {"decode MODEL -n", "--positions" + no_number, "x|-1"},
           {"decode MODEL -n", "--positions" + too_large, "99999999999999999999"},
           {"decode MODEL --seed", "--seed" + no_number, "1.5"},
           {"decode MODEL --temperature", "--temperature cannot be *; tapedeck decode --help ",
            "warm"},
           {"decode MODEL --threads", no_thread, "0|1025"},
           {"decode MODEL --way", no_way, "shared"},
           {"decode MODEL --device", "--device must be cpu, gpu, auto or host-sim, not *\n",
            "tpu|1"},
           {"decode MODEL --activations", "--activations must be f32 or f16, not *\n", "f64"},
           {"decode MODEL --activations f16", "the CPU cannot compute in f16, only in f32; "},
           {"decode MODEL --activations f16 --device host-sim",
            "the CPU cannot compute in f16, only in f32; "},
           {"decode MODEL --gpu-memory 1GiB",
            "--gpu-memory limits a device, but the CPU decodes; "},
           {"decode MODEL --gpu-memory 0 --device", "--gpu-memory" + no_memory,
            "gpu|auto|host-sim"},
           {"decode MODEL --publish=a/b", ""},
           {"decode MODEL --record", "--record needs a value; write --record FILE\n"},
           {"decode MODEL --record", "open of * failed: ENOENT", "/no/file"},
           {"decode MODEL --record", "--record" + empty, "|"},
           {"decode MODEL --tokenizer", "--tokenizer" + empty, "|"},
           {"report MODEL -o", "--output" + empty, "|"},
           {"man --folder", "--folder" + empty, "|"},
           {"decode MODEL --record", "*" + not_regular, "/dev/full"},
           {"decode MODEL --record FOLDER", folder + not_regular},

           {"warm MODEL --threads", "--threads" + no_number, "-1|1.5|x"},
           {"warm MODEL --threads", no_thread, "0|1025"},
           {"warm MODEL --way", no_way, "|shared|mmap|1"},
           {"warm MODEL --deadline",
            "--deadline must be a number of seconds from 0 to 1e9, not *\n",
            "|-1|-0.5|nan|inf|1e300|1,5|1s|0x5| 1"},

           {"make-model OUT --layers 1 --dim", "--dim" + no_number, "x|-64"},
           {"make-model OUT --layers 1 --dim 7",
            "a model cannot be made: --heads of 1 gives heads of an odd size with --dim of 7; "},
           {"make-model OUT --dim 64 --layers",
            no_model + "--layers of 0 is below the minimum of 1; ", "0"},
           {"make-model OUT --dim 64 --layers",
            no_model + "--layers of 4097 exceeds the maximum of 4096; use 4096\n", "4097"},
           {"make-model OUT --dim 64 --layers 1 --heads 4 --kv-heads",
            no_model + "--kv-heads of * does not divide --heads of 4; ", "3"},
           {"make-model OUT --dim 64 --layers 1 --vocab",
            no_model + "--vocab of * is below the minimum of 259, which the byte tokens need; ",
            "258"},
           {"make-model /no/m --layers 1 --dim 64", "open of /no/m failed: ENOENT"},
           {"make-model /dev/full --layers 1 --dim 64", "/dev/full" + not_regular},
           {"make-model FOLDER --layers 1 --dim 64", folder + not_regular},
           {"make-model MODEL --layers 1 --dim 64", model_ + " exists already; "},
           {"decode MODEL --force", "--force has no effect without --record; add --record\n"},
           {"report MODEL --force", "--force has no effect without --output; add --output\n"},

           {"plan MODEL --context", "--context" + no_number, "-1|1e9|99999999999999999999k"},
           {"plan MODEL --context", "--context" + too_large,
            "99999999999999999999|18446744073709551616"},
           {"plan MODEL --context", "--context" + overflow, most},
           {"plan MODEL --sequences", "--sequences" + overflow, most},
           {"plan MODEL --decode-batch", "--decode-batch" + overflow, most},
           {"plan MODEL --rollback", "--rollback" + overflow, most},
           {"plan MODEL --overhead", "--overhead" + overflow, most},
           {"plan MODEL --profile llama.cpp --sequences", "--sequences" + overflow, most},
           {"fit MODEL --host-memory 1G --context", "--context" + overflow, most},
           {"plan MODEL --overhead 18446744073709551615 --context", "--context" + overflow, most},
           {"plan MODEL --flash-attention off --batch 9000000000 --ubatch 8000000000 --context",
            "--context" + overflow, "10000000000"},
           {"plan MODEL --kv", no_cache, "|f17|q4_k|f16,|,f16|f16,q6_k|f16,f16,f16"},
           {"plan MODEL --weights-type", "--weights-type" + no_type, "x"},
           {"plan MODEL --weights-size", "--weights-size" + no_size, "x"},
           {"plan MODEL --weights-size", "--weights-size" + no_memory, "0"},
           {"plan MODEL --weights-size 1G", "--weights-size states "},
           {"plan MODEL --weights-size 1G --weights-type q8_0", ""},
           {"plan MODEL --foreign-memory",
            "--foreign-memory must be a size such as 512M, openblas=THREADS or onednn=EXECUTIONS, "
            "not *\n",
            "|x|1.5|openblas|openblas=|openblas=-1|openblas=8x|openblas=1000001|OpenBLAS=8|mkl=8"},
           {"fit MODEL --foreign-memory", "--foreign-memory makes the plan too large ", most},
           {"plan MODEL --profile", "--profile must be native or llama.cpp, not *\n", "vllm"},
           {"plan MODEL --flash-attention", "--flash-attention must be on or off, not *\n",
            "maybe|1"},
           {"plan MODEL --tp 9", ""},
           {"plan MODEL --batch 512 --ubatch 513",
            "--ubatch of 513 exceeds --batch of 512, which limits it; raise --batch, or "},
           {"fit MODEL --ubatch 2049", "--ubatch of 2049 exceeds --batch of 2048, "},
           {"plan MODEL --slots 2", "--slots has no effect without --streaming; add --streaming\n"},
           {"plan MODEL --gpu-memory 2G",
            "--gpu-memory has no effect without --streaming; add --streaming\n"},
           {"plan MODEL --streaming --slots", "--slots" + no_number, "-1"},
           {"plan MODEL --streaming --gpu-memory", "--gpu-memory" + no_size, "x"},
           {"plan MODEL --streaming --tp 2",
            "--tp and --streaming exclude each other; leave one of them out\n"},
           {"plan MODEL --streaming --weights-type q8_0",
            "--weights-type and --streaming exclude each other; "},

           {"fit MODEL --gpu", "--gpu" + no_number, "-1"},
           {"fit MODEL --gpu 77", ""},
           {"fit MODEL --gpu 0 --gpu-memory 1G", "--gpu-memory and --gpu exclude each other; "},
           {"fit MODEL --gpu", "--gpu cannot be *; tapedeck fit --help ", "4294967296"},
           {"fit MODEL --gpu-memory", "--gpu-memory" + no_size, "12XB|-1G"},
           {"fit MODEL --gpu-memory", "--gpu-memory" + no_memory, "0"},
           {"plan MODEL --streaming --gpu-memory", "--gpu-memory" + no_memory, "0"},
           {"fit MODEL --gpu-memory 1G --tokens-per-second 3",
            "--tokens-per-second needs the speed of the bus, which is unknown; "},
           {"fit MODEL --gpu-memory 1G --bus", "--bus" + no_memory, "0"},
           {"fit MODEL --bus", "--bus" + no_size, "25XB"},
           {"fit MODEL --bus 1G", no_bus},
           {"fit MODEL --tokens-per-second 3", no_bus},
           {"fit MODEL --tokens-per-second",
            "--tokens-per-second must be a number greater than 0, not *\n",
            "|0|-1|fast|nan|inf|1e999|3x"},
           {"fit MODEL --host-memory", "--host-memory" + no_size,
            "G|-1G|+1G|1.5|1.5B|1.G|.5G|1.5.5G|1e12GB|1.5e3G|2GiBB|2Gi|2X|25GB/s|2  G|2G | "
            "2G|0x10|99999999999999999999X|99999999999999999999.5"},
           {"fit MODEL --host-memory", "--host-memory" + size_too_large,
            "99999999999999999999|18446744073709551616|99999999999999999999k|16777216TiB|"
            "16777215.99999999999999999T"},

           {"top --once --list", "--once and --list exclude each other; "},
           {"top --folder", "--folder" + empty, "|"},
           {"top --folder FOLDER", "no layout of this user is published; "},
           {"top chat --folder FOLDER", "no layout of this user is published as chat; "},
           {"top --folder /no/such", "opendir of /no/such failed: ENOENT"},
       }) {
    if (values == nullptr) {
      EXPECT_TRUE(refuses(run(words_of(line)), says)) << line;
      continue;
    }
    std::istringstream all(values);
    for (std::string value; std::getline(all, value, '|');) {
      std::string said = says;
      if (const std::size_t star = said.find('*'); star < said.size()) {
        said.replace(star, 1, value.empty() ? "empty" : value);
      }
      EXPECT_TRUE(refuses(run(joined(words_of(line), {value})), said)) << line;
    }
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(BadInput, Files) {
  const std::string fifo = folder_ / "fifo.gguf";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const TempFolder nothing;
  const std::string folder = nothing.path();
  for (const std::string command :
       {"plan", "fit", "show", "warm", "resident", "decode", "report"}) {
    const auto refuses_file = [&](const std::string& file, const std::string& says) {
      EXPECT_TRUE(refuses(run({command, file}), says)) << command;
    };
    refuses_file(folder + "/missing", "open of " + folder + "/missing failed: ENOENT");
    refuses_file(folder + "/two\nlines", "open of " + folder + "/two\\x0alines failed: ENOENT");
    refuses_file("", (command == "report" ? "RECORDING" : "MODEL") + std::string(" is empty; "));
    refuses_file(model_ + "/x", "open of " + model_ + "/x failed: ENOTDIR");
    refuses_file("/dev/null", "/dev/null is not a regular file");
    refuses_file(fifo, fifo + " is not a regular file");
    const char* const wrong = command == "report" ? " is not a regular file" : " holds no model";
    refuses_file(folder, folder + wrong);
  }
}

TEST_F(BadInput, DecodeNeedsATokenizerAndSaysHowToGetOne) {
  const std::string convert =
      "; convert the model to GGUF (llama.cpp: convert_hf_to_gguf.py) or to a llama2.c checkpoint "
      "(llama2.c: export.py)\n";
  const std::string config = folder_.write(
      "config.json",
      R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 512,)"
      R"( "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 128})");
  EXPECT_TRUE(refuses(run({"decode", config}),
                      config +
                          ", byte 0: a config.json has no weights and no tokenizer to decode "
                          "with" +
                          convert));
  std::string header =
      R"({"model.norm.weight":{"dtype":"F32","shape":[64],"data_offsets":[0,256]}})";
  header.resize(128, ' ');
  const std::string tensors = folder_.write(
      "model.safetensors", std::string("\x80\0\0\0\0\0\0\0", 8) + header + std::string(256, '\0'));
  const std::string reason =
      ", byte 0: safetensors files hold no tokenizer, and their Q and K rows are not in the order "
      "that this decoder computes with" +
      convert;
  for (std::string model : {tensors, folder_.path().string()}) {
    const Ran ran = run({"decode", model});
    EXPECT_TRUE(refuses(ran, model.append(reason)));
  }
}

// The readers' own tests check the messages about contents.
TEST_F(BadInput, ContentsOfFiles) {
  const std::string bytes = content_of(model_);
  const std::string cut = folder_.write("cut", bytes.substr(0, bytes.size() - 1));
  for (const std::string command : {"warm", "resident", "decode", "report"}) {
    EXPECT_TRUE(refuses(run({command, cut}), cut + ", byte ")) << command;
  }
  const std::string none = folder_.write("none", "");
  for (const std::string command : {"plan", "fit", "show", "warm", "decode"}) {
    EXPECT_TRUE(refuses(run({command, none}), none + ", byte 0: the file is empty; copy or "))
        << command;
  }
  EXPECT_TRUE(refuses(run({"report", none}), none + ", byte 0: the file is empty; record "));
  EXPECT_TRUE(refuses(run({"report", model_}),
                      model_ + ", byte 0: it is not a recording of a layout; give a file that "
                               "`tapedeck decode --record` or a Recorder wrote\n"));
  EXPECT_TRUE(refuses(run({"decode", model_, "--tokenizer", model_}), model_ + ", byte "));
  const std::string alone = folder_.write("alone", bytes);
  EXPECT_TRUE(refuses(run({"decode", alone}),
                      "the model has no tokenizer, and " + alone + ".tokenizer does not exist; "));
}

// Regression: --publish=$NAME was taken for --publish where NAME was not set.
TEST(EmptyValues, AreRefusedByEveryOptionAndOperand) {
  for (const std::string& command : commands_in_help()) {
    for (const std::string& option : options_in_help(command)) {
      if (!option.starts_with("--")) continue;
      EXPECT_TRUE(refuses(run({command, option + "="}), option)) << command;
    }
    const Ran ran = run({command, ""});
    EXPECT_EQ(ran.exit_code, 2) << command;
    EXPECT_THAT(ran.err, ::testing::AnyOf(::testing::HasSubstr("empty"),
                                          ::testing::HasSubstr("unexpected argument"),
                                          ::testing::HasSubstr("must be")));
  }
  const Words decode = {"decode", made_small(), "-n", "50", "--ids"};
  for (const Words& prompt : {Words{"-p", "--publish="}, {"-p", "--prompt="}, {"-p", ""}}) {
    EXPECT_EQ(run(joined(decode, prompt)).exit_code, 0) << prompt.back();
  }
}

}  // namespace
}  // namespace tapedeck::tests
