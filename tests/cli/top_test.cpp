// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "cli/tmux.hpp"
#include "layout/cache_region.hpp"
#include "os/self.hpp"
#include "telemetry/published.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The names of the layouts in a view, from their headings.
std::vector<std::string> shown_layouts(const std::string& text) {
  std::vector<std::string> names;
  for (const std::string& line : lines_of(text)) {
    if (const auto end = line.find("  process "); end < line.size())
      names.push_back(line.substr(1, end - 1));
  }
  return names;
}

/// An `OtherPublisher` as it is shown in 80 columns.
const std::string kProcess = " RSS * MiB   swap 0 B   faults *, major *\n";
std::string look_of(const std::string& heading, const std::string& process = kProcess) {
  return heading +
         "\n passes 1*   conversations ended 0   talks 2\n"
         " spills 0 (0 B now)   refused 0   growth steps 0\n" +
         process +
         "\n                     used        peak   committed    reserved    headroom\n"
         " weights      [" +
         std::string(47, '#') + std::string(16, '-') +
         "]\n"
         "                    3 MiB       3 MiB       4 MiB       4 MiB       1 MiB\n"
         " scratch      [" +
         std::string(63, '-') +
         "]\n"
         "                      0 B         0 B       1 MiB       1 MiB       1 MiB\n"
         " history      [*]\n"
         "                      0 B         0 B       4 MiB       4 MiB       4 MiB\n";
}
const std::string kLegend = " [#] used  [=] peak  [-] committed  [.] reserved";

/// Another process publishes a layout as "chat".
class Top : public InSharedMemory {
 protected:
  void SetUp() override {
    InSharedMemory::SetUp();
    if (!IsSkipped()) chat_.emplace(folder_.path(), "chat");
  }
  [[nodiscard]] Words top(const Words& more = {}) const {
    return joined({"top", "--folder", folder_.path()}, more);
  }
  /// The output of `--once`.
  [[nodiscard]] std::string once(const Words& more = {}) const {
    const Ran ran = run(joined(top(more), {"--once"}));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.err, "");
    EXPECT_EQ(ran.out.find('\x1b'), std::string::npos);
    return ran.out;
  }

  std::optional<OtherPublisher> chat_;
};

TEST_F(Top, ShowsALayoutOnce) {
  EXPECT_LE(width_of(once()), 80U);
  EXPECT_THAT(once(), Like(look_of(" chat  process *  running * published * ago ") + "\n" +
                           kLegend + "\n"));
  chat_->kill();
  EXPECT_THAT(
      once(),
      Like(look_of(" chat  process *  DEAD: last known values *published * ago ",
                   " RSS, swap and faults are unknown: its process is gone or not visible here\n") +
           "\n" + kLegend + "\n"));
}

TEST_F(Top, ListsNamesAndProcessIds) {
  const OtherPublisher second(folder_.path(), "chat");
  const Ran all = run(top({"--list"}));
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, ::testing::MatchesRegex("[0-9]+\n[0-9]+\nchat\n"));
  const TempFolder nothing;
  const Ran none = run({"top", "--list", "--folder", nothing.path().string()});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_EQ(none.out + none.err, "");
}

TEST_F(Top, ShowsDevicesAndRefusals) {
  BusyLayout busy;
  const StatPublisher publisher(busy.layout, "busy", folder_.path());
  std::string tapes;
  for (const char* const place : {"", "gpu0 ", "gpu1 "}) {
    for (const char* const tape : {"weights", "scratch", "history"}) {
      tapes += std::string(" ") + place + tape + " *[*]\n * * * * *\n";
    }
    const bool first_gpu = std::string(place) == "gpu0 ";  // its talks are empty
    const std::string tokens = *place == '\0' ? "3" : first_gpu ? "0" : "5";
    tapes += std::string(" ") + place + "tokens *[*] * " + tokens + " of      2048, *\n";
  }
  EXPECT_LE(width_of(once({"busy"})), 80U);
  EXPECT_THAT(once({"busy"}),
              Like(" busy  process *\n passes *   conversations ended 1   talks 2\n"
                   " spills 0 (0 B now)   refused 1   growth steps *\n RSS *\n\n * headroom\n" +
                   tapes + "\n" + kLegend + "\n"));
}

/// Of a plan for two talks of 1024 tokens each, with 7 tokens in one of them and room for 9 more.
Plan plan_of_tokens() {
  Plan plan;
  plan.talks = 2;
  plan.history.append(cache_region("layers.0.k", RegionRole::kv, 1024, 1024));
  return plan;
}
struct TokensLayout : Layout {
  TokensLayout() : Layout(plan_of_tokens(), {.commit = Commit::with_talks, .growth_step = 1}) {
    talk(0).prepare(16);
    talk(0).advance(7);
  }
};

TEST_F(Top, ShowsHowFullTheTalksAre) {
  TokensLayout layout;
  StatPublisher publisher(layout, "full", folder_.path());
  const auto expect_shown = [&](const std::string& bar, const std::string& tokens) {
    const std::string shown = once({"full"});
    EXPECT_LE(width_of(shown), 80U);
    EXPECT_THAT(shown, Like("...\n tokens       [" + bar + "]" + tokens +
                            " of      2048,  unknown tokens/s\n...\n"));
  };
  expect_shown("#" + std::string(21, '.'), "        7");
  layout.talk(0).prepare(1000);
  layout.talk(0).advance(1000);
  layout.talk(1).prepare(700);
  publisher.publish();
  expect_shown(std::string(10, '#') + std::string(8, '-') + std::string(4, '.'), "     1007");
}

/// The first line of this beginning and with this text in it, of the next ten that are printed.
std::string next_line(Piped& top, const std::string& beginning, const std::string& text) {
  for (int look = 0; look < 10; ++look) {
    for (const std::string& line : lines_of(top.pipe.read.read_some())) {
      if (line.starts_with(beginning) && line.find(text) != std::string::npos) return line;
    }
  }
  return "";
}

TEST_F(Top, ShowsTokensPerSecondFromTwoSamples) {
  TokensLayout layout;
  StatPublisher publisher(layout, "fast", folder_.path());
  Piped top_run(top({"fast"}));
  EXPECT_THAT(next_line(top_run, "fast ", ""),
              Like("fast * | tokens 7 of 2048 (unknown/s) | passes 0 | RSS *"));
  layout.talk(0).advance(5);
  layout.clear_talk(0);  // its 12 tokens still count
  publisher.publish();
  const std::string line = next_line(top_run, "fast ", "tokens 0 of 2048 (");
  ASSERT_THAT(line, Like("fast * | tokens 0 of 2048 (*/s) | passes 0 (0.0/s) | RSS *"));
  const double rate = std::stod(line.substr(line.find("2048 (") + 6));
  EXPECT_GT(rate, 0);
  EXPECT_LE(rate, 5);  // there is a second between two samples
  top_run.pipe.read.close();
}

TEST_F(Top, BeginsAgainWithTheNextPublisherOfAName) {
  TokensLayout layout;
  std::optional<StatPublisher> publisher(std::in_place, layout, "again", folder_.path());
  Piped top_run(top());
  EXPECT_NE(next_line(top_run, "again ", "tokens 7 of 2048 (unknown/s)"), "");
  EXPECT_NE(next_line(top_run, "again ", "tokens 7 of 2048 (0.0/s)"), "");
  publisher.reset();
  layout.talk(0).rewind(4);
  publisher.emplace(layout, "again", folder_.path());
  EXPECT_NE(next_line(top_run, "again ", "tokens 3 of 2048 (unknown/s)"), "");
  top_run.pipe.read.close();
}

TEST_F(Top, FindsByProcessAndByName) {
  OtherPublisher other(folder_.path(), "other");
  EXPECT_THAT(shown_layouts(once({"chat"})), ElementsAre("chat"));
  const std::string process = std::to_string(StatReader(other.path()).published().process);
  EXPECT_THAT(once({process}), Like(" other  process " + process + " *\n...\n"));
  EXPECT_THAT(shown_layouts(once({process})), ElementsAre("other"));
  EXPECT_THAT(shown_layouts(once()), ElementsAre("chat", "other"));
}

TEST_F(Top, ShowsInvalidFilesAndSkipsThoseOfOthers) {
  overwrite(folder_.path() / "tapedeck.12.34.other", "\x1b[2J");
  const fs::path file = folder_.path() / "tapedeck.12.34.public";
  overwrite(file, text_of(chat_->path()));
  fs::permissions(file, fs::perms(0666));
  fs::create_symlink(file, folder_.path() / "tapedeck.12.34.link");
  EXPECT_THAT(once(),
              Like(look_of(" chat  process *") +
                   "\n other  process 12  cannot be read\n */tapedeck.12.34.other, byte 0: *\n\n" +
                   kLegend + "\n"));
}

TEST_F(Top, PrintsLinesWithoutATerminal) {
  Piped top_run(top({"chat"}));
  const std::string tapes = " | weights: 3/4 MB | scratch: 0/1 MB | history: 0/4 MB | passes 1";
  EXPECT_THAT(top_run.pipe.read.read_some(),
              Like("chat * running" + tapes + " | RSS * MiB, swap 0 B | faults *, major *\n..."));
  EXPECT_THAT(top_run.pipe.read.read_some(),
              Like("chat * running" + tapes + " (0.0/s) | RSS *\n..."));
  chat_->kill();
  // It ends, since nothing can change any more.
  const Ran ran = top_run.finish();
  EXPECT_THAT(ran.out, Like("...\nchat * dead" + tapes + "\n"));
  EXPECT_EQ(ran.exit_code, 0);
}

TEST_F(Top, EndsWhenItsReaderIsGone) {
  Piped top_run(top());
  EXPECT_NE(top_run.pipe.read.read_some(), "");
  top_run.pipe.read.close();
  EXPECT_EQ(top_run.program.wait().exit_code, 141);
}

TEST_F(Top, SeesADecoder) {
  const std::string name = "test-" + std::to_string(::getpid());
  // It prints more than the pipe holds, and waits for a reader.
  Piped decoder({"decode", made_large(), "-n", "0", "--ids", "-p", "a", "-p", "b", "-p", "c",
                 "--publish=" + name},
                4096);
  ASSERT_TRUE(decoder.program.waits_to_write());
  const Ran ran = run({"top", name, "--once"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out,
              Like(" " + name + "  process *\n passes *   conversations ended *   *\n...\n"));
  decoder.program.send(SIGINT);
  EXPECT_EQ(decoder.program.wait().exit_code, 130);
  EXPECT_TRUE(
      refuses(run({"top", name, "--once"}), "no layout of this user is published as " + name));
}

/// `tapedeck top` in a terminal.
class TopOnScreen : public Top {
 protected:
  void SetUp() override {
    Top::SetUp();
    if (const auto why = no_tmux()) GTEST_SKIP() << *why;
  }
  /// The terminal is as it was before.
  static void expect_restored(const Tmux& tmux) {
    EXPECT_TRUE(comes_true([&] { return tmux.flag("alternate_on") == "0"; }));
    EXPECT_TRUE(tmux.shows("before"));
    EXPECT_EQ(tmux.flag("cursor_flag"), "1");
    tmux.type("echo typed-$((40+2))");  // in a mode with echo and line editing
    EXPECT_TRUE(tmux.shows("echo typed-$((40+2))"));
    EXPECT_TRUE(tmux.shows("typed-42"));
    EXPECT_EQ(tmux.screen().find("process"), std::string::npos);
  }
  void start(const Tmux& tmux) const {
    tmux.type("clear; echo before");
    EXPECT_TRUE(tmux.shows("before"));
    // The alternate screen hides the line that is typed here.
    tmux.type(built_path("tapedeck").string() + " top --folder " + folder_.path().string() +
              "; echo code $?");
    EXPECT_TRUE(tmux.shows("q quits"));
    EXPECT_EQ(tmux.flag("alternate_on"), "1");
  }
  static void quit(const Tmux& tmux) {
    tmux.press("q");
    EXPECT_TRUE(tmux.shows("code 0"));
  }
};

TEST_F(TopOnScreen, FitsTheSmallestTerminal) {
  const Tmux tmux(80, 24);
  start(tmux);
  EXPECT_TRUE(tmux.shows("(0.0/s)"));
  EXPECT_TRUE(tmux.becomes(Like(look_of(" chat  process *  running * published *") + "...\n" +
                                kLegend + " * q quits\n")));
  EXPECT_EQ(lines_of(tmux.screen()).size(), 24U);
  quit(tmux);
  expect_restored(tmux);
}

TEST_F(TopOnScreen, FollowsTheWindow) {
  const Tmux tmux(200, 50);
  start(tmux);
  // Bars as wide as the window, with the values below them, and the legend in the last row.
  const auto fills = [](std::size_t columns, std::size_t rows) {
    return ::testing::Truly([=](const std::string& screen) {
      const std::vector<std::string> lines = lines_of(screen);
      return lines.size() == rows && lines[6].starts_with(" weights") &&
             lines[6].size() == columns - 1 && lines.back().ends_with("q quits");
    });
  };
  EXPECT_TRUE(tmux.becomes(fills(200, 50)));
  tmux.resize(100, 20);
  EXPECT_TRUE(tmux.becomes(fills(100, 20)));
  tmux.resize(90, 9);  // too few rows for values below the bars
  EXPECT_TRUE(tmux.becomes(Like(" *\n *\n *\n *\n weights *3 MiB of *\n *\n *\n\n*q quits\n")));
  tmux.resize(40, 5);
  EXPECT_TRUE(tmux.shows(" more lines"));
  tmux.resize(120, 30);
  EXPECT_TRUE(tmux.becomes(fills(120, 30)));
  quit(tmux);
}

TEST_F(TopOnScreen, ShowsItsOwnerDie) {
  const Tmux tmux(80, 24);
  start(tmux);
  EXPECT_TRUE(tmux.shows("running"));
  chat_->kill();
  EXPECT_TRUE(tmux.shows("DEAD: last known values"));
  EXPECT_TRUE(tmux.shows("3 MiB"));
  // The next publisher of that name replaces it.
  OtherPublisher next(folder_.path(), "chat");
  EXPECT_TRUE(tmux.shows("running"));
  EXPECT_TRUE(tmux.becomes(::testing::Not(::testing::HasSubstr("DEAD"))));
  quit(tmux);
}

TEST_F(TopOnScreen, RestoresTheTerminalOnSignals) {
  const Tmux tmux(80, 24);
  start(tmux);
  tmux.press("C-z");  // not a signal here
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
  const Tmux tmux(80, 24);
  start(tmux);
  fs::rename(folder_.path(), folder_.path().string() + ".moved");
  EXPECT_TRUE(tmux.shows("code 2"));
  EXPECT_TRUE(tmux.shows("tapedeck: opendir of"));
  fs::rename(folder_.path().string() + ".moved", folder_.path());
  EXPECT_EQ(tmux.flag("alternate_on"), "0");
  EXPECT_TRUE(tmux.shows("before"));
}

TEST_F(TopOnScreen, ShowsSeveralLayouts) {
  const OtherPublisher a(folder_.path(), "a");
  const OtherPublisher b(folder_.path(), "b");
  const Tmux tmux(80, 26);
  start(tmux);
  EXPECT_TRUE(tmux.becomes(::testing::ResultOf(shown_layouts, ElementsAre("a", "b", "chat"))));
  quit(tmux);
}

}  // namespace
}  // namespace tapedeck::tests
