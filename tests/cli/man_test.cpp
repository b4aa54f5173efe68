// SPDX-License-Identifier: Apache-2.0
// tapedeck man: pages that agree with --help, and that readers of manual pages accept.
#include <gmock/gmock.h>

#include <cstddef>
#include <filesystem>
#include <regex>
#include <string>

#include "cli/help.hpp"
#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/temp_folder.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string page_of(const std::string& command) {
  const Ran ran = run(command.empty() ? Words{"man"} : Words{"man", command});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  return ran.out;
}

Words program_and_commands() { return joined({""}, commands_in_help()); }

std::string with_minus_signs(const std::string& text) {
  return std::regex_replace(text, std::regex("-"), "\\-");
}

TEST(Man, NamesEveryOption) {
  for (const std::string& command : program_and_commands()) {
    const std::string page = page_of(command);
    const Words options = options_in_help(command);
    EXPECT_THAT(options, ::testing::Contains("--help"));
    for (const std::string& option : options) {
      EXPECT_THAT(page, HasSubstr("\\fB" + with_minus_signs(option) + "\\fR")) << command;
    }
  }
}

TEST(Man, NamesEveryCommand) {
  const std::string page = page_of("");
  const Words commands = commands_in_help();
  EXPECT_THAT(commands, ::testing::Contains("make-model"));
  for (const std::string& command : commands) {
    const std::string name = with_minus_signs(command);
    EXPECT_THAT(page, HasSubstr("\n.TP\n\\fBtapedeck " + name + "\\fR\n"));
    EXPECT_THAT(page, HasSubstr("\n.BR tapedeck\\-" + name + " (1)"));
    EXPECT_THAT(page_of(command), HasSubstr(".SH NAME\ntapedeck\\-" + name + " \\- "));
  }
}

TEST(Man, StatesWhatTheTableKnowsOfAnOption) {
  const std::string plan = page_of("plan");
  EXPECT_THAT(plan, HasSubstr("\n\\fBtapedeck plan\\fR [\\fIOPTION\\fR]... \\fIMODEL\\fR\n"));
  EXPECT_THAT(plan, HasSubstr("\n\\fB\\-\\-profile\\fR \\fBnative|llama.cpp\\fR\n"));
  EXPECT_THAT(plan, Like("...\n*\\-\\-batch\\fR \\fIUINT\\fR\n*\n.br\nDefault: 2048.\n...\n"));
  EXPECT_THAT(plan, HasSubstr("\nDefault: 2. Requires \\-\\-streaming.\n"));
  EXPECT_THAT(plan, HasSubstr("\nExcludes \\-\\-tp, \\-\\-weights\\-type.\n"));
  EXPECT_THAT(page_of("warm"), HasSubstr("\nRange: 1 \\- 1024.\n"));
  EXPECT_THAT(page_of("make-model"), Like("...\n*\\-\\-dim\\fR*\n*\n.br\nRequired.\n...\n"));
  EXPECT_THAT(page_of("top"), HasSubstr(" [\\fIWHICH\\fR]\n"));
  EXPECT_THAT(page_of("completion"), HasSubstr("\nOne of: bash, zsh, fish.\n"));
  EXPECT_THAT(plan, HasSubstr("\n\\fB\\-\\-kv\\fR \\fITYPE[,TYPE]\\fR\n"));
  EXPECT_THAT(plan, HasSubstr("\nEach one of: f32, f16, bf16, "));
  EXPECT_THAT(page_of("decode"), HasSubstr("\\fB\\-\\-publish\\fR[=\\fIVALUE\\fR]\n"));
}

// The codes of the section EXIT STATUS.
Words exit_codes_of(const std::string& page) {
  const std::size_t begin = page.find(".SH EXIT STATUS\n");
  const std::string section = page.substr(begin, page.find("\n.SH", begin) - begin);
  Words codes;
  const std::regex code("\\.TP\n([0-9]+)\n");
  for (std::sregex_iterator found(section.begin(), section.end(), code), end; found != end;
       ++found) {
    codes.push_back((*found)[1].str());
  }
  return codes;
}

TEST(Man, ListsTheExitCodesThatTheCommandReturns) {
  EXPECT_THAT(exit_codes_of(page_of("plan")), ElementsAre("0", "2", "4", "130"));
  EXPECT_THAT(exit_codes_of(page_of("fit")), ElementsAre("0", "2", "3", "4", "130"));
  EXPECT_THAT(exit_codes_of(page_of("warm")), ElementsAre("0", "2", "3", "4", "130"));
  EXPECT_THAT(exit_codes_of(page_of("decode")), ElementsAre("0", "2", "130", "141"));
  EXPECT_THAT(exit_codes_of(page_of("top")), ElementsAre("0", "2", "130", "141"));
  EXPECT_THAT(exit_codes_of(page_of("")),
              ElementsAre("0", "2", "3", "3", "4", "4", "4", "130", "141", "141"));
  EXPECT_THAT(page_of("warm"), HasSubstr("\n.TP\n4\nThe deadline passed.\n"));
  EXPECT_THAT(page_of(""), HasSubstr("\n.TP\n4\nThe deadline passed (tapedeck warm).\n"));
  EXPECT_THAT(
      run({"warm", "--help"}).out,
      ::testing::EndsWith("\nExit codes: 3 if there is too little memory for the rest, 4 if "
                          "the deadline passed.\n"));
  EXPECT_EQ(run({"show", "--help"}).out.find("Exit codes"), std::string::npos);
}

TEST(Man, LeavesNothingToTroffButItsOwnRequests) {
  const std::regex request("\\.(TH|SH|TP|PP|br|B|BR|RS|RE|EX|EE)( .*)?");
  const std::regex text("([^-\\\\`~^]|\\\\(-|e|&|f[BIR]|\\([a-z]{2}))*");
  for (const std::string& command : program_and_commands()) {
    for (const std::string& line : split_lines(page_of(command))) {
      EXPECT_FALSE(line.empty() || line.starts_with('\'') || line.starts_with(' ')) << command;
      EXPECT_TRUE(!line.starts_with('.') || std::regex_match(line, request)) << line;
      EXPECT_TRUE(std::regex_match(line, text)) << line;
    }
  }
}

TEST(Man, WritesAPageForEachCommandToAFolder) {
  const TempFolder folder;
  const Ran ran = run({"man", "--folder", folder.path().string()});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.out + ran.err, "");
  Words names;
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    names.push_back(file.path().filename().string());
  }
  Words expected;
  for (const std::string& command : program_and_commands()) {
    const std::string name = (command.empty() ? "tapedeck" : "tapedeck-" + command) + ".1";
    expected.push_back(name);
    EXPECT_EQ(content_of(folder / name), page_of(command));
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAreArray(expected));
}

TEST(Man, ReadersFindNothingWrong) {
  const bool man = shell("command -v man && command -v groff").exit_code == 0;
  const bool mandoc = shell("command -v mandoc").exit_code == 0;
  if (!man && !mandoc) GTEST_SKIP() << "neither man nor mandoc is here (Debian: man-db, mandoc)";
  const TempFolder folder;
  ASSERT_EQ(run({"man", "--folder", folder.path().string()}).exit_code, 0);
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    const std::string path = file.path().string();
    if (man) {
      EXPECT_EQ(shell("man --warnings -E UTF-8 -l -Tutf8 -Z " + path + " 2>&1 >/dev/null").text, "")
          << path;
    }
    // A page has no date, so that it can be made again.
    if (mandoc) {
      EXPECT_EQ(shell("mandoc -T lint -W warning " + path + " | grep -v 'missing date'").text, "");
    }
  }
}

TEST(Man, ExamplesRun) {
  const TempFolder folder;
  const std::string program = built_path("tapedeck").string();
  std::size_t examples = 0;
  const std::string page = std::regex_replace(page_of(""), std::regex("\\\\-"), "-");
  const std::regex example("\\.EX\ntapedeck (.*)\n\\.EE\n");
  for (std::sregex_iterator found(page.begin(), page.end(), example), end; found != end; ++found) {
    const std::string words =
        std::regex_replace((*found)[1].str(), std::regex("MODEL"), made_large());
    std::string line = "cd " + folder.path().string() + " && " + program;
    const Said said = shell(line.append(" ").append(words));
#ifndef TAPEDECK_WITH_REPORTS
    if (words.starts_with("report")) continue;
#endif
    EXPECT_EQ(said.exit_code, 0) << words << '\n' << said.text;
    ++examples;
  }
  EXPECT_GT(examples, 4U);
}

}  // namespace
}  // namespace tapedeck::tests
