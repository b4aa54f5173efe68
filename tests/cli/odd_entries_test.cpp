// SPDX-License-Identifier: Apache-2.0
// What any user may put beside the files that a command lists: one bad entry fails no list.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "os/odd_entries.hpp"
#include "os/self.hpp"
#include "telemetry/published.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
namespace fs = std::filesystem;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

/// Layouts that this process publishes.
class Lists : public InSharedMemory {
 protected:
  [[nodiscard]] Ran top(const Words& more, const ProgramOptions& options = {}) const {
    return run(joined({"top", "--folder", folder_.path()}, more), options);
  }
  [[nodiscard]] std::unique_ptr<StatPublisher> published(const std::string& name) const {
    return std::make_unique<StatPublisher>(layout_, name, folder_.path());
  }
  SmallLayout layout_;
};

// Regression: a socket, or a file with a lease, of the right name failed `tapedeck top`.
TEST_F(Lists, OfLayoutsGoOn) {
  const auto chat = published("chat");
  const std::string good = text_of(chat->path());
  const fs::path path = folder_.path() / "tapedeck.12.34.odd";
  for (const OddEntry& odd : odd_entries()) {
    SCOPED_TRACE(odd.name);
    const OddEntry::Made made = odd.make(path, good);
    if (made.exists) {
      const Ran once = top({"--once"});
      EXPECT_EQ(once.exit_code, 0) << once.err;
      EXPECT_THAT(once.out, HasSubstr(" chat  process "));
      EXPECT_EQ(once.err, "");
      const Ran list = top({"--list"});
      EXPECT_EQ(list.exit_code, 0) << list.err;
      EXPECT_THAT(list.out, HasSubstr("chat\n"));
      if (!odd.own) {
        EXPECT_THAT(once.out, Not(HasSubstr("odd")));
        EXPECT_THAT(list.out, Not(HasSubstr("odd")));
      }
      EXPECT_EQ(published("odd")->path().parent_path(), folder_.path());
    }
    fs::remove_all(path);
    fs::remove(folder_.path() / "target");
  }
}

// Regression: more publishers than descriptors failed it, at once or when it listed them again.
TEST_F(Lists, OfMoreLayoutsThanDescriptorsShowWhatFits) {
  constexpr int kPublishers = 40;
  std::vector<std::unique_ptr<StatPublisher>> all;
  all.reserve(kPublishers);
  for (int i = 0; i < kPublishers; ++i) all.push_back(published("n" + std::to_string(i)));
  const Ran once = top({"--once"}, {.descriptors = 20});
  EXPECT_EQ(once.exit_code, 0) << once.err;
  const auto shown = static_cast<int>(count_of(once.out, "  process "));
  EXPECT_GT(shown, 0);
  EXPECT_EQ(count_of(once.out, " RSS "), count_of(once.out, "  process ")) << "/proc is read, too";
  EXPECT_THAT(once.out, Not(HasSubstr("unknown")));
  EXPECT_THAT(once.err, StartsWith("tapedeck: " + std::to_string(kPublishers - shown) +
                                   " more layouts are not shown: this process may have 20 files"));
  EXPECT_EQ(count_of(top({"--list"}, {.descriptors = 20}).out, "n"), kPublishers);

  Piped lines({"top", "--folder", folder_.path()}, 0, {.descriptors = 20});
  std::string printed;
  while (count_of(printed, "n0 ") < 2) {
    const std::string some = lines.pipe.read.read_some();
    ASSERT_NE(some, "") << printed;
    printed += some;
  }
  lines.pipe.read.close();
  EXPECT_EQ(lines.program.wait().exit_code, 141);
}

TEST_F(Lists, OfLayoutsEndWithTheirTerminal) {
  if (const auto why = no_terminal()) GTEST_SKIP() << *why;
  const auto chat = published("chat");
  for (const char* const kind : {"xterm", "dumb"}) {
    const Variable term("TERM", kind);
    Terminal terminal;
    Program top({"top", "--folder", folder_.path()}, {.terminal = terminal.side.get()});
    terminal.side.close();
    EXPECT_NE(terminal.control.read_some(), "");
    terminal.control.close();
    EXPECT_EQ(top.wait().exit_code, 130) << kind;
  }
}

}  // namespace
}  // namespace tapedeck::tests
