#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "cli/tmux.hpp"
#include "telemetry/published.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

class Top : public InSharedMemory {
 protected:
  [[nodiscard]] Words top(Words more = {}) const {
    Words words = {"top", "--folder", folder_.path().string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] Ran once(Words more = {}) const {
    more.emplace_back("--once");
    return run(top(more));
  }
};

TEST_F(Top, ShowsALayoutOnce) {
  OtherPublisher chat(folder_.path(), "chat");
  const Ran ran = once();
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, HasSubstr(" chat  process "));
  EXPECT_THAT(ran.out, HasSubstr("  running "));
  EXPECT_THAT(ran.out, HasSubstr(" passes 1   conversations 0   tokens 0   talks 2\n"));
  EXPECT_THAT(ran.out, HasSubstr(" spills 0 (0 B now)   refused 0   growth steps 0\n"));
  EXPECT_TRUE(std::regex_search(
      ran.out, std::regex("\n RSS [0-9.]+ MiB   swap 0 B   faults [0-9]+, major [0-9]+\n")))
      << ran.out;
  EXPECT_TRUE(std::regex_search(ran.out, std::regex(" weights +\\[#{47}-{16}\\]\n +3 MiB +3 MiB"
                                                    " +4 MiB +4 MiB +1 MiB\n")))
      << ran.out;
  for (const std::string& line : lines_of(ran.out)) EXPECT_LE(line.size(), 80U) << line;
  EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
}

TEST_F(Top, ShowsDevicesAndWhatRanFull) {
  BusyLayout busy;
  const StatPublisher publisher(busy.layout, "busy", folder_.path());
  const std::string out = once().out;
  EXPECT_THAT(out, HasSubstr(" tokens 3   talks 2\n"));
  EXPECT_THAT(out, HasSubstr("refused 1 "));
  for (const char* const tape : {"\n weights  ", "\n gpu0 weights [", "\n gpu1 history ["}) {
    EXPECT_THAT(out, HasSubstr(tape));
  }
  EXPECT_EQ(out.find("gpu2"), std::string::npos);
  for (const std::string& line : lines_of(out)) EXPECT_LE(line.size(), 80U) << line;
}

TEST_F(Top, FindsByProcessAndByName) {
  OtherPublisher a(folder_.path(), "a");
  OtherPublisher b(folder_.path(), "b");
  EXPECT_THAT(once({"a"}).out, Not(HasSubstr(" b  process")));
  const std::string process = std::to_string(StatReader(b.path()).published().process);
  EXPECT_THAT(once({process}).out, HasSubstr(" b  process " + process));
  EXPECT_THAT(once({process}).out, Not(HasSubstr(" a  process")));
  const std::string both = once().out;
  EXPECT_LT(both.find(" a  process"), both.find(" b  process"));
}

TEST_F(Top, SaysWhatIsNotThere) {
  EXPECT_TRUE(refuses(once(), "no layout of this user is published; decode with --publish"));
  EXPECT_TRUE(refuses(once({"chat"}), "is published as chat; `tapedeck top` shows"));
  EXPECT_TRUE(refuses(run({"top", "--folder", "/no/such"}), "opendir of /no/such failed: ENOENT"));
}

TEST_F(Top, ShowsADeadOneAsDead) {
  OtherPublisher chat(folder_.path(), "chat");
  chat.kill();
  const Ran ran = once();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("DEAD: these are its last figures"));
  EXPECT_THAT(ran.out, HasSubstr("there is no such process here"));
  EXPECT_THAT(ran.out, HasSubstr("3 MiB"));
}

TEST_F(Top, ShowsWhatIsNoneAsSuch) {
  OtherPublisher chat(folder_.path(), "chat");
  overwrite(folder_.path() / "tapedeck.12.34.other", "\x1b[2J");
  const Ran ran = once();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr(" chat  process"));
  EXPECT_THAT(ran.out, HasSubstr(" other  process 12  cannot be read\n"));
  EXPECT_THAT(ran.out, HasSubstr("tapedeck.12.34.other, byte 0: "));
  EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
}

TEST_F(Top, PassesOverWhatIsNotOurs) {
  const fs::path file = folder_.path() / "tapedeck.12.34.other";
  overwrite(file, "");
  fs::permissions(file, fs::perms(0666));
  fs::create_symlink(file, folder_.path() / "tapedeck.12.34.link");
  EXPECT_TRUE(refuses(once(), "no layout of this user is published"));
  OtherPublisher chat(folder_.path(), "chat");
  const std::string out = once().out;
  EXPECT_THAT(out, HasSubstr(" chat  process "));
  EXPECT_THAT(out, Not(HasSubstr("process 12")));
}

TEST_F(Top, PrintsLinesWhereThereIsNoTerminal) {
  auto chat = std::make_unique<OtherPublisher>(folder_.path(), "chat");
  Pipe out;
  Program program(top({"chat"}), {.out = out.write.get()});
  out.write.close();
  const std::string first = out.read.read_some();
  EXPECT_THAT(first, HasSubstr(" running | weights: 3/4 MB | scratch: 0/1 MB | history: 0/4 MB | "
                               "0 tokens | 1 passes"));
  EXPECT_THAT(first, HasSubstr(" RSS "));
  EXPECT_THAT(out.read.read_some(), HasSubstr(" 1 passes, 0.0/s | RSS "));
  chat->kill();
  // Nothing will change any more.
  EXPECT_THAT(out.read.read_all(), HasSubstr(" dead | weights: 3/4 MB"));
  EXPECT_EQ(program.wait().exit_code, 0);
}

TEST_F(Top, EndsWhenNobodyReadsItsLines) {
  OtherPublisher chat(folder_.path(), "chat");
  Pipe out;
  Program program(top(), {.out = out.write.get()});
  out.write.close();
  EXPECT_THAT(out.read.read_some(), HasSubstr("running"));
  out.read.close();
  EXPECT_EQ(program.wait().exit_code, 141);
}

TEST_F(Top, SeesADecoder) {
  const std::string model = made_for_long_talks();
  const std::string name = "test-" + std::to_string(::getpid());
  Pipe out;  // nobody reads, so it stays
  Program decoder(
      {"decode", model, "-n", "0", "--ids", "-p", "a", "-p", "b", "-p", "c", "--publish=" + name},
      {.out = out.write.get()});
  Ran ran;
  EXPECT_TRUE(comes_true([&] {
    ran = run({"top", name, "--once"});
    return ran.exit_code == 0 && ran.out.find(" passes 0") == std::string::npos;
  })) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(" " + name + "  process "));
  EXPECT_THAT(ran.out, HasSubstr("conversations 1 "));
  decoder.send(SIGINT);
  EXPECT_EQ(decoder.wait().exit_code, 130);
  EXPECT_TRUE(refuses(run({"top", name, "--once"}), "is published as " + name));
}

TEST_F(Top, IsNotPublishedForUnderAnyName) {
  const std::string model = made_for_plans();
  EXPECT_TRUE(refuses(run({"decode", model, "-n", "2", "--ids", "--publish=a/b"}),
                      "cannot be published as \"a/b\"; give 1 to 63"));
}

/// `tapedeck top` on a screen.
class TopOnScreen : public Top {
 protected:
  void SetUp() override {
    Top::SetUp();
    if (const auto why = no_tmux()) GTEST_SKIP() << *why;
  }
  [[nodiscard]] std::string command(const std::string& which = "") const {
    return built_path("tapedeck").string() + " top --folder " + folder_.path().string() + " " +
           which;
  }
  /// What was there before is there again.
  static void expect_restored(const Tmux& tmux) {
    EXPECT_TRUE(tmux.sees([&](const auto&) { return tmux.alternate() == "0"; }, "first screen"));
    EXPECT_TRUE(tmux.shows("before"));
    EXPECT_EQ(tmux.cursor(), "1");
    tmux.type("echo typed-$((40+2))");  // with echo, and lines
    EXPECT_TRUE(tmux.shows("echo typed-$((40+2))"));
    EXPECT_TRUE(tmux.shows("typed-42"));
    EXPECT_THAT(tmux.screen(), Not(HasSubstr("process")));
  }
  void start(const Tmux& tmux, const std::string& which = "") const {
    tmux.type("clear; echo before");
    EXPECT_TRUE(tmux.shows("before"));
    // Typed in a line that is gone before anything is looked for.
    tmux.type(command(which) + "; echo code $?");
    EXPECT_TRUE(tmux.shows("q quits"));
    EXPECT_EQ(tmux.alternate(), "1");
  }
};

TEST_F(TopOnScreen, FitsTheSmallestTerminal) {
  OtherPublisher chat(folder_.path(), "chat");
  const Tmux tmux(80, 24);
  start(tmux);
  EXPECT_TRUE(tmux.shows("(0.0/s)"));
  const std::vector<std::string> lines = lines_of(tmux.screen());
  ASSERT_EQ(lines.size(), 24U);
  EXPECT_THAT(lines[0], HasSubstr(" chat  process "));
  EXPECT_THAT(lines[0], HasSubstr("running"));
  EXPECT_THAT(lines[0], HasSubstr("published "));
  EXPECT_THAT(lines[6], ::testing::StartsWith(" weights      [####"));
  EXPECT_EQ(lines[6].size(), 79U);
  EXPECT_THAT(lines[23], HasSubstr("# used"));
  EXPECT_THAT(lines[23], HasSubstr("q quits"));
  tmux.press("q");
  EXPECT_TRUE(tmux.shows("code 0"));
  expect_restored(tmux);
}

TEST_F(TopOnScreen, FollowsTheWindow) {
  OtherPublisher chat(folder_.path(), "chat");
  const Tmux tmux(200, 50);
  start(tmux, "chat");
  EXPECT_TRUE(tmux.shows(" weights "));
  std::vector<std::string> lines = lines_of(tmux.screen());
  ASSERT_EQ(lines.size(), 50U);
  EXPECT_EQ(lines[6].size(), 199U);
  const auto bar_is = [](std::size_t row, std::size_t width) {
    return [=](const std::string& screen) {
      const auto now = lines_of(screen);
      return now.size() > row && now[row].starts_with(" weights") && now[row].size() == width;
    };
  };
  tmux.resize(100, 20);
  EXPECT_TRUE(tmux.sees(bar_is(6, 99), "bar of a narrower window"));
  EXPECT_THAT(lines_of(tmux.screen()).back(), HasSubstr("q quits"));
  tmux.resize(90, 9);  // too low for bars over their figures
  EXPECT_TRUE(tmux.sees(
      [](const std::string& screen) {
        const auto now = lines_of(screen);
        return now.size() == 9 && now[4].starts_with(" weights") &&
               now[4].find("3 MiB of") != std::string::npos;
      },
      "dense view"));
  tmux.resize(40, 5);
  EXPECT_TRUE(tmux.shows(" more lines"));
  tmux.resize(120, 30);
  EXPECT_TRUE(tmux.sees(bar_is(6, 119), "bar of a wider window"));
  tmux.press("q");
  EXPECT_TRUE(tmux.shows("code 0"));
}

TEST_F(TopOnScreen, ShowsItsOwnerDie) {
  OtherPublisher chat(folder_.path(), "chat");
  const Tmux tmux(80, 24);
  start(tmux);
  EXPECT_TRUE(tmux.shows("running"));
  chat.kill();
  EXPECT_TRUE(tmux.shows("DEAD: these are its last figures"));
  EXPECT_TRUE(tmux.shows("3 MiB"));
  // The next one of its name takes its place.
  OtherPublisher next(folder_.path(), "chat");
  EXPECT_TRUE(tmux.shows("running"));
  EXPECT_TRUE(
      tmux.sees([](const std::string& screen) { return screen.find("DEAD") == std::string::npos; },
                "screen without the dead one"));
  tmux.press("q");
  EXPECT_TRUE(tmux.shows("code 0"));
}

TEST_F(TopOnScreen, RestoresTheTerminalOnSignals) {
  OtherPublisher chat(folder_.path(), "chat");
  const Tmux tmux(80, 24);
  start(tmux);
  tmux.press("C-z");  // is no signal here
  tmux.press("C-\\\\");
  tmux.press("x");
  tmux.press("C-c");
  EXPECT_TRUE(tmux.shows("code 130"));
  expect_restored(tmux);
  start(tmux);
  tmux.send_signal("TERM");
  EXPECT_TRUE(tmux.shows("code 130"));
  expect_restored(tmux);
}

TEST_F(TopOnScreen, RestoresTheTerminalOnErrors) {
  OtherPublisher chat(folder_.path(), "chat");
  const Tmux tmux(80, 24);
  start(tmux);
  fs::rename(folder_.path(), folder_.path().string() + ".moved");
  EXPECT_TRUE(tmux.shows("code 2"));
  EXPECT_TRUE(tmux.shows("tapedeck: opendir of"));
  fs::rename(folder_.path().string() + ".moved", folder_.path());
  EXPECT_EQ(tmux.alternate(), "0");
  EXPECT_TRUE(tmux.shows("before"));
}

TEST_F(TopOnScreen, ShowsSeveralLayouts) {
  std::vector<std::unique_ptr<OtherPublisher>> all;
  for (const char* const name : {"a", "b", "c"}) {
    all.push_back(std::make_unique<OtherPublisher>(folder_.path(), name));
  }
  const Tmux tmux(80, 26);
  start(tmux);
  for (const char* const name : {" a  process", " b  process", " c  process"}) {
    EXPECT_TRUE(tmux.shows(name));
  }
  tmux.press("q");
  EXPECT_TRUE(tmux.shows("code 0"));
}

}  // namespace
}  // namespace tapedeck::tests
