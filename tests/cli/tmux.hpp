// SPDX-License-Identifier: Apache-2.0
/// @file
/// A program in tmux, as a user sees it.
#pragma once

#include <gmock/gmock.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "cli/program.hpp"
#include "os/temp_folder.hpp"
#include "telemetry/published.hpp"
#include "telemetry/tools.hpp"

namespace tapedeck::tests {

/// Returns why a `Tmux` cannot be created, or `nullopt` if it can.
[[nodiscard]] inline std::optional<std::string> no_tmux() {
  if (shell("tmux -V").exit_code != 0) return "tmux is not installed (Debian: tmux)";
  return no_terminal();
}

/// A separate tmux server with one window, in which a shell waits for commands. The destructor ends
/// it in any case.
class Tmux {
 public:
  Tmux(int columns, int rows) {
    const std::string size = " -x " + std::to_string(columns) + " -y " + std::to_string(rows);
    // Ignores the user's settings, and uses a shell that prints "READY" as its prompt.
    const Said said = shell("env -u TMUX PS1=READY ENV= tmux -S " + socket() +
                            " -f /dev/null new-session -d" + size + " sh");
    EXPECT_EQ(said.exit_code, 0) << said.text;
  }
  ~Tmux() { static_cast<void>(tmux("kill-server")); }
  Tmux(const Tmux&) = delete;
  Tmux& operator=(const Tmux&) = delete;

  void type(const std::string& line) const {
    const Said said = tmux("send-keys -l '" + line + "'");
    EXPECT_EQ(said.exit_code, 0) << said.text;
    press("Enter");
  }
  void press(const std::string& key) const {
    EXPECT_EQ(tmux("send-keys " + key).exit_code, 0) << key;
  }
  void resize(int columns, int rows) const {
    const Said said =
        tmux("resize-window -x " + std::to_string(columns) + " -y " + std::to_string(rows));
    EXPECT_EQ(said.exit_code, 0) << said.text;
  }

  /// Sends a signal, such as "TERM", to the program that the shell waits for.
  void send_signal(const std::string& name) const {
    const std::string id = tmux("display-message -p '#{pane_pid}'").text;
    const std::string shell_id = id.substr(0, id.find('\n'));
    const Said said =
        shell("kill -" + name + " $(cat /proc/" + shell_id + "/task/" + shell_id + "/children)");
    EXPECT_EQ(said.exit_code, 0) << said.text;
  }

  [[nodiscard]] std::string screen() const { return tmux("capture-pane -p").text; }

  /// Returns "1" if a property of the pane is set: "alternate_on" (the program uses the alternate
  /// screen) or "cursor_flag".
  [[nodiscard]] std::string flag(const std::string& name) const {
    return tmux("display-message -p '#{" + name + "}'").text.substr(0, 1);
  }

  /// Waits for a screen that matches, up to a minute.
  template <class Matcher>
  [[nodiscard]] ::testing::AssertionResult becomes(const Matcher& matcher) const {
    if (comes_true([&] { return ::testing::Matches(matcher)(screen()); })) {
      return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << "not within a minute; now\n" << screen();
  }
  [[nodiscard]] ::testing::AssertionResult shows(const std::string& text) const {
    return becomes(::testing::HasSubstr(text));
  }

 private:
  [[nodiscard]] std::string socket() const { return (folder_ / "tmux").string(); }
  [[nodiscard]] Said tmux(const std::string& command) const {
    return shell("env -u TMUX tmux -S " + socket() + " " + command);
  }

  TempFolder folder_;
};

}  // namespace tapedeck::tests
