// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/interrupt.hpp"
#include "cli/option_table.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/top_rates.hpp"
#include "cli/top_view.hpp"
#include "os/descriptor.hpp"
#include "os/file.hpp"
#include "os/terminal.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kBetweenFrames = std::chrono::milliseconds(500);
constexpr auto kBetweenLines = std::chrono::seconds(1);
constexpr int kMostWait = 200;  // milliseconds until a signal is noticed

constexpr int kInput = 0;

// Escape sequences that xterm, tmux, the Linux console and the like understand. On entering:
// alternate screen, no cursor, no wrapping of long lines.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr std::string_view kLeave = "\x1b[m\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kReverse = "\x1b[7m";
constexpr std::string_view kPlain = "\x1b[m";

struct TopArguments {
  std::string which;
  std::string folder = kPublishFolder;
  bool once = false;
  bool list = false;
};

// Another user's file, a symbolic link, or a file that is gone by now.
bool is_left_out(int error) { return error == EACCES || error == ELOOP || error == ENOENT; }

// The process or the host has no descriptor left.
bool is_shortage(int error) { return error == EMFILE || error == ENFILE; }

// A published layout, from the moment it was found.
class Watched {
 public:
  // Throws a SystemError for what is not shown at all.
  explicit Watched(PublishedLayout published) : look_{.published = std::move(published)} {
    try {
      reader_ = std::make_unique<StatReader>(look_.published.path);
      look_.published = reader_->published();
    } catch (const FormatError& error) {
      look_.refused = error.what();
    } catch (const SystemError& error) {
      if (is_left_out(error.number()) || is_shortage(error.number())) throw;
      look_.refused = error.what();
    }
  }

  [[nodiscard]] const Look& look() const noexcept { return look_; }

  void look_again() {
    if (!reader_) return;
    try {
      look_.state = reader_->state();
      // Without a consistent record, the last one remains on view.
      if (const auto now = reader_->read()) look_.now = now;
    } catch (const Error& error) {
      look_.refused = error.what();
    }
    look_at_process();
    take_sample();
  }

 private:
  void look_at_process() {
    look_.faults.reset();
    if (look_.state != PublisherState::running || !reader_->process_visible()) return;
    const std::string process = std::to_string(look_.published.process);
    look_.memory = os::process_memory({}, process);
    const os::ProcessStat stat = os::process_stat(process);
    if (stat.error == 0) look_.faults = stat.faults;
  }

  void take_sample() {
    if (look_.now && look_.state == PublisherState::running) {
      samples_.add({Clock::now(), look_.now->stat, look_.faults.value_or(os::FaultCount())});
    } else {
      samples_.clear();
    }
    look_.rates = samples_.rates();
  }

  std::unique_ptr<StatReader> reader_;
  Look look_;
  RateWindow samples_;
};

// The published layouts that the user selected, as they come and go.
class Watch {
 public:
  explicit Watch(const TopArguments& arguments) : arguments_(arguments) {}

  void look_again() {
    const std::vector<PublishedLayout> there = wanted();
    // One that has ended took its file away: another publisher of that process took its name.
    std::erase_if(all_, [&](const Watched& one) {
      return one.look().state == PublisherState::ended && is_among(there, one);
    });
    not_opened_ = 0;
    for (const PublishedLayout& published : there) add_new(published);
    for (Watched& one : all_) one.look_again();
    // Layouts that are gone are shown until another one runs.
    if (!any_running()) return;
    std::erase_if(all_, [&](const Watched& one) { return !is_among(there, one); });
  }

  [[nodiscard]] std::vector<Look> looks() const {
    std::vector<Look> looks;
    std::ranges::transform(all_, std::back_inserter(looks), &Watched::look);
    return looks;
  }

  /// What is missing in `looks()`; empty if nothing is.
  [[nodiscard]] std::string missing() const {
    if (not_opened_ == 0) return {};
    return fmt::format("{} {} not shown: {}", internal::count_of(not_opened_, "more layout"),
                       not_opened_ == 1 ? "is" : "are", os::advice_to_open(shortage_, not_opened_));
  }

  /// Whether anything may still change.
  [[nodiscard]] bool any_running() const {
    return std::ranges::any_of(
        all_,
        [](const Look& look) {
          return look.refused.empty() &&
                 (look.state == PublisherState::running || look.state == PublisherState::unknown);
        },
        &Watched::look);
  }

  void throw_where_nothing_is_published() const {
    if (!all_.empty()) return;
    if (not_opened_ != 0) throw InvalidArgument(missing());
    const std::string how =
        "run `tapedeck decode --publish`, or add a StatPublisher to your engine";
    if (arguments_.which.empty()) throw InvalidArgument("no layout of this user is published", how);
    throw InvalidArgument("no layout of this user is published as " + printable(arguments_.which),
                          "run `tapedeck top` to see all of them");
  }

 private:
  [[nodiscard]] static const std::filesystem::path& path_of(const Watched& one) {
    return one.look().published.path;
  }

  [[nodiscard]] static bool is_among(const std::vector<PublishedLayout>& there,
                                     const Watched& one) {
    return std::ranges::find(there, path_of(one), &PublishedLayout::path) != there.end();
  }

  [[nodiscard]] std::vector<PublishedLayout> wanted() const {
    std::vector<PublishedLayout> all = published_layouts(arguments_.folder);
    const std::string& which = arguments_.which;
    std::erase_if(all, [&](const PublishedLayout& one) {
      return !which.empty() && one.name != which && std::to_string(one.process) != which;
    });
    return all;
  }

  void add_new(const PublishedLayout& published) {
    if (std::ranges::find(all_, published.path, path_of) != all_.end()) return;
    // One descriptor stays free for listing the folder again and for reading /proc.
    const os::Opened spare = os::duplicate(kError);
    try {
      all_.emplace_back(published);
    } catch (const SystemError& error) {
      if (!is_shortage(error.number())) return;
      shortage_ = error.number();
      ++not_opened_;
    }
  }

  const TopArguments& arguments_;
  std::vector<Watched> all_;
  std::size_t not_opened_ = 0;
  int shortage_ = 0;
};

// While it exists, the program has the terminal's alternate screen and reads single keys. However
// it ends, the destructor restores the terminal.
class Screen {
 public:
  Screen() : keys_(os::is_terminal(kInput) ? kInput : -1), key_by_key_(keys_) {
    os::wake_on_resize();
    output_.write(kEnter);
  }
  // Not through `output_`, which stops writing after its reader is gone.
  ~Screen() { static_cast<void>(std::fwrite(kLeave.data(), 1, kLeave.size(), stdout)); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Whether standard output is a terminal with an alternate screen.
  [[nodiscard]] static bool possible() noexcept {
    const char* const kind = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): nothing sets it
    return os::is_terminal(kOutput) && kind != nullptr && *kind != '\0' &&
           std::string_view(kind) != "dumb";
  }

  // Returns false if the terminal is gone.
  [[nodiscard]] bool draw(const Watch& watch) {
    drawn_ = os::window_size(kOutput);
    std::string frame(kHome);
    for (const auto& [text, heading] : lines_in_window(watch.looks(), watch.missing(), drawn_)) {
      if (frame.size() != kHome.size()) frame += "\r\n";
      frame += heading ? fmt::format("{}{}{}", kReverse, text, kPlain) : text;
      // After a full line, it would erase the last character.
      if (text.size() < drawn_.columns) frame += kEraseLineEnd;
    }
    return output_.write(frame);
  }

  // Whether the window's size has changed since the last frame.
  [[nodiscard]] bool resized() const noexcept { return os::window_size(kOutput) != drawn_; }

  // Waits for a key, a resize or a signal.
  [[nodiscard]] os::Key wait(int milliseconds) const noexcept {
    return os::wait_for_key(keys_, milliseconds);
  }

 private:
  Output output_;
  os::WindowSize drawn_;
  int keys_;
  os::KeyByKey key_by_key_;
};

enum class Next : std::uint8_t { frame, quit, interrupted };

// Redraws after a resize. A terminal that is gone is an interrupt, whether its signal or the end of
// its input arrives first.
Next wait_for_next_frame(Screen& screen, const Watch& watch, const std::atomic<bool>& stop) {
  const auto next = Clock::now() + kBetweenFrames;
  while (Clock::now() < next && !stop) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now());
    const os::Key key = screen.wait(std::clamp(static_cast<int>(left.count()), 0, kMostWait));
    if (key.waited == os::Waited::hung_up) return Next::interrupted;
    if (key.key == 'q') return Next::quit;
    if (screen.resized() && !screen.draw(watch)) return Next::interrupted;
  }
  return stop ? Next::interrupted : Next::frame;
}

int watch_on_screen(Watch& watch) {
  const std::atomic<bool>& stop = note_interrupts();
  Screen screen;
  while (screen.draw(watch)) {
    const Next next = wait_for_next_frame(screen, watch, stop);
    if (next == Next::quit) return 0;
    if (next == Next::interrupted) break;
    watch.look_again();
  }
  return kInterrupted;
}

int watch_in_lines(Watch& watch) {
  Output output;
  std::string missing;
  while (true) {
    if (watch.missing() != missing) tell_error(missing = watch.missing());
    std::string lines;
    for (const Look& look : watch.looks()) lines += look_line(look) + '\n';
    if (!output.write(lines)) return kPipeClosed;
    if (!watch.any_running()) return 0;
    std::this_thread::sleep_for(kBetweenLines);
    watch.look_again();
  }
}

bool is_shown(const PublishedLayout& one) {
  try {
    const Watched watched(one);
    return true;
  } catch (const SystemError&) {
    return false;
  }
}

// Prints each name and process ID on a line of its own, as completion takes them.
int list_layouts(const TopArguments& arguments) {
  std::set<std::string> words;
  for (const PublishedLayout& one : published_layouts(arguments.folder)) {
    if (is_shown(one)) words.insert({one.name, std::to_string(one.process)});
  }
  std::string text;
  for (const std::string& word : words) text += word + '\n';
  Output().write(text);
  return 0;
}

int top(const TopArguments& arguments) {
  if (arguments.list) return list_layouts(arguments);
  Watch watch(arguments);
  watch.look_again();
  watch.throw_where_nothing_is_published();
  if (arguments.once) {
    Output().write(looks_text(watch.looks()));
    if (!watch.missing().empty()) tell_error(watch.missing());
    return 0;
  }
  return Screen::possible() ? watch_on_screen(watch) : watch_in_lines(watch);
}

}  // namespace

void add_top(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("top", "Shows the memory of layouts in other processes, live.");
  command->footer(
      "A process publishes a layout with `tapedeck decode --publish` or a StatPublisher. On a\n"
      "terminal, press q to quit. Otherwise a line is printed for each layout every second, until\n"
      "none of them is running.");
  auto arguments = std::make_shared<TopArguments>();
  command
      ->add_option("WHICH", arguments->which, "A process ID or the name of a layout [all layouts]")
      ->check(not_empty())
      ->option_text(kLayout);
  as_path(
      command->add_option("--folder", arguments->folder, "Folder in which layouts are published"),
      kFolder)
      ->capture_default_str();
  CLI::Option* once =
      command->add_flag("--once", arguments->once, "Print the present state once, as text");
  command
      ->add_flag("--list", arguments->list,
                 "Print the names and process IDs of all published layouts, one per line")
      ->excludes(once);
  command->callback([arguments, &exit_code] { exit_code = top(*arguments); });
}

}  // namespace tapedeck::cli
