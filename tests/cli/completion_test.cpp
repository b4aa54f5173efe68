// SPDX-License-Identifier: Apache-2.0
// tapedeck completion: scripts that the shells run, and that offer what --help lists.
#include <gmock/gmock.h>

#include <string>
#include <utility>

#include "cli/help.hpp"
#include "cli/program.hpp"
#include "os/temp_folder.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

// The script of one shell, which the tests source.
class Completion : public ::testing::Test {
 protected:
  explicit Completion(std::string name) : shell_(std::move(name)) {}

  void SetUp() override {
    if (tapedeck::tests::shell("command -v " + shell_).exit_code != 0) {
      GTEST_SKIP() << "there is no " << shell_ << " (Debian: " << shell_ << ")";
    }
    const Ran ran = run({"completion", shell_});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    script_ = folder_.write("script", ran.out).string();
  }

  // The lines that a command of the shell prints after the script was sourced, in a folder of
  // files.
  [[nodiscard]] Words lines_of(const std::string& command) const {
    const std::string before = shell_ == "zsh" ? "compdef() { }\n" : "";  // a part of compinit
    const std::string file =
        folder_.write("command", before + "source " + script_ + "\n" + command).string();
    const Said said = tapedeck::tests::shell("cd " + files_.path().string() + " && HOME=$PWD " +
                                             shell_ + " " + no_settings() + " " + file);
    return split_lines(said.text);
  }

  TempFolder folder_;
  TempFolder files_;
  std::string script_;

 private:
  [[nodiscard]] std::string no_settings() const {
    return shell_ == "bash" ? "--norc" : shell_ == "zsh" ? "-f" : "--no-config";
  }
  std::string shell_;
};

class BashCompletion : public Completion {
 protected:
  BashCompletion() : Completion("bash") {}

  // What is offered for the last of the words after "tapedeck". Bash completes file names by itself
  // where the script tells it to.
  [[nodiscard]] Words offered(const Words& words) const {
    std::string command = "compopt() { echo \"$@\"; }; COMP_WORDS=(tapedeck";
    for (const std::string& word : words) command += " '" + word + "'";
    return lines_of(
        command + "); COMP_CWORD=" + std::to_string(words.size()) +
        "; _tapedeck; for word in \"${COMPREPLY[@]}\"; do printf '%s\\n' \"$word\"; done");
  }
};

TEST_F(BashCompletion, OffersCommandsAndOptions) {
  EXPECT_EQ(offered({""}), commands_in_help());
  EXPECT_EQ(offered({"-"}), options_in_help(""));
  EXPECT_THAT(offered({"fi"}), ElementsAre("fit"));
  EXPECT_THAT(offered({"plan", "--sl"}), ElementsAre("--slots"));
  for (const std::string& command : commands_in_help()) {
    EXPECT_EQ(offered({command, "-"}), options_in_help(command));
  }
}

TEST_F(BashCompletion, OffersValues) {
  EXPECT_THAT(offered({"plan", "--profile", ""}), ElementsAre("native", "llama.cpp"));
  EXPECT_THAT(offered({"plan", "--profile", "=", "l"}), ElementsAre("llama.cpp"));
  EXPECT_THAT(offered({"warm", "--way", "="}), ElementsAre("automatic", "map", "read", "direct"));
  EXPECT_THAT(offered({"completion", ""}), ElementsAre("bash", "zsh", "fish"));
  EXPECT_EQ(offered({"man", ""}), commands_in_help());
  EXPECT_EQ(offered({"help", ""}), commands_in_help());
  EXPECT_THAT(offered({"plan", "--kv", "q"}), ElementsAre("q8_0", "q5_1", "q5_0", "q4_1", "q4_0"));
  EXPECT_THAT(offered({"plan", "--weights-type", "=", "f1"}), ElementsAre("f16"));
  EXPECT_THAT(offered({"fit", "--activation-type", "bf"}), ElementsAre("bf16"));
  for (const Words& nothing : {Words{"plan", "--context", ""},
                               {"decode", "m", "-p", ""},
                               {"decode", "--publish", "="},
                               {"gpus", ""},
                               {"top", ""},  // there is no tapedeck to ask for layouts
                               {"completion", "zsh", ""},
                               {"no-such-command", ""}}) {
    EXPECT_THAT(offered(nothing), IsEmpty()) << ::testing::PrintToString(nothing);
  }
}

TEST_F(BashCompletion, OffersThePublishedLayouts) {
  EXPECT_THAT(
      lines_of("tapedeck() { [[ $* == 'top --list' ]] && printf '42\\ndecode\\nchat\\n'; }\n"
               "COMP_WORDS=(tapedeck top d); COMP_CWORD=2; _tapedeck; echo ${COMPREPLY[@]}"),
      ElementsAre("decode"));
}

TEST_F(BashCompletion, OffersFilesForOperandsAndOptionsThatAreFiles) {
  const auto files = ElementsAre("-o default");
  EXPECT_THAT(offered({"show", ""}), files);
  EXPECT_THAT(offered({"plan", "--context", "5", ""}), files);
  EXPECT_THAT(offered({"plan", "--context", "=", "5", "--json", ""}), files);
  EXPECT_THAT(offered({"decode", "--publish", "x"}), files);
  EXPECT_THAT(offered({"decode", "m", "--tokenizer", ""}), files);
  EXPECT_THAT(offered({"report", "r", "-o", ""}), files);
  EXPECT_THAT(offered({"top", "--folder", ""}), ElementsAre("-o dirnames"));
  EXPECT_THAT(offered({"plan", "m", ""}), IsEmpty());
  EXPECT_THAT(offered({"plan", "--context", "5", "m", ""}), IsEmpty());
}

class ZshCompletion : public Completion {
 protected:
  ZshCompletion() : Completion("zsh") {}

  // What the script gives zsh's functions for the arguments of a command, or for the command
  // itself.
  [[nodiscard]] Words given(const std::string& command) const {
    return lines_of(
        "_describe() { print -rl -- $commands }\n"
        "_arguments() {\n"
        "  [[ $1 == -C ]] || { print -rl -- $@; return }\n"
        "  state=" +
        std::string(command.empty() ? "command" : "arguments") + " line=(" + command +
        ")\n}\n_tapedeck\n");
  }
};

TEST_F(ZshCompletion, DescribesCommandsAndOptions) {
  Words commands;
  for (const std::string& line : given("")) {
    if (line.find(':') != std::string::npos) commands.push_back(line.substr(0, line.find(':')));
  }
  EXPECT_EQ(commands, commands_in_help());
  for (const std::string& command : commands_in_help()) {
    Words options;
    for (const std::string& line : given(command)) {
      // "--way=[...", "(-n --positions)-n+[...", "*--prompt=[..."
      const std::string spec =
          line.substr(line.find(')') < line.find('[') ? line.find(')') + 1 : 0);
      const std::size_t begin = spec.starts_with('*') ? 1 : 0;
      if (spec[begin] == '-')
        options.push_back(spec.substr(begin, spec.find_first_of("=+[") - begin));
    }
    EXPECT_EQ(options, options_in_help(command));
  }
}

TEST_F(ZshCompletion, DescribesValues) {
  const Words plan = given("plan");
  EXPECT_THAT(plan, ::testing::Contains(::testing::AllOf(
                        ::testing::StartsWith("--profile=["),
                        ::testing::EndsWith("]:native|llama.cpp:(native llama.cpp)"))));
  EXPECT_THAT(plan, ::testing::Contains(":MODEL:_files"));
  EXPECT_THAT(plan,
              ::testing::Contains(::testing::EndsWith(
                  "\\]]:TYPE[,TYPE]:(f32 f16 bf16 f8_e4m3 f8_e5m2 i8 q8_0 q5_1 q5_0 q4_1 q4_0 "
                  "iq4_nl)")));
  EXPECT_THAT(given("top"),
              ::testing::Contains("::WHICH:{compadd -- $(tapedeck top --list 2> /dev/null)}"));
  EXPECT_THAT(given("top"), ::testing::Contains(::testing::EndsWith("]:FOLDER:_files -/")));
  EXPECT_THAT(given("decode"), ::testing::Contains(::testing::EndsWith("]:[HOST]\\:PORT: ")));
}

class FishCompletion : public Completion {
 protected:
  FishCompletion() : Completion("fish") {}

  // What is offered at the end of "tapedeck LINE", without the descriptions.
  [[nodiscard]] Words offered(const std::string& line) const {
    Words words = lines_of("complete -C 'tapedeck " + line + "'");
    for (std::string& word : words) word = word.substr(0, word.find('\t'));
    return words;
  }
};

TEST_F(FishCompletion, OffersCommandsAndOptions) {
  EXPECT_THAT(offered(""), UnorderedElementsAreArray(commands_in_help()));
  EXPECT_THAT(offered("-"), UnorderedElementsAreArray(options_in_help("")));
  EXPECT_THAT(offered("fi"), ElementsAre("fit"));
  for (const std::string& command : commands_in_help()) {
    EXPECT_THAT(offered(command + " -"), UnorderedElementsAreArray(options_in_help(command)));
  }
}

TEST_F(FishCompletion, OffersValues) {
  EXPECT_THAT(offered("plan --profile l"), ElementsAre("llama.cpp"));
  EXPECT_THAT(offered("plan --weights-type bf"), ElementsAre("bf16"));
  EXPECT_THAT(offered("help "), UnorderedElementsAreArray(commands_in_help()));
  EXPECT_THAT(offered("completion "), UnorderedElementsAreArray({"bash", "fish", "zsh"}));
  EXPECT_THAT(offered("man "), UnorderedElementsAreArray(commands_in_help()));
  files_.write("model.bin", "");
  EXPECT_THAT(offered("plan mo"), ElementsAre("model.bin"));
  EXPECT_THAT(offered("plan --context 5 mo"), ElementsAre("model.bin"));
  EXPECT_THAT(offered("decode --tokenizer mo"), ElementsAre("model.bin"));
  for (const char* line :
       {"plan --context mo", "gpus mo", "top --folder mo", "top mo", "man zsh mo"}) {
    EXPECT_THAT(offered(line), IsEmpty()) << line;
  }
}

}  // namespace
}  // namespace tapedeck::tests
