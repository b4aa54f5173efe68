#include "cli/screen.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "os/file.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

constexpr int kInput = 0;

// What xterm, tmux, the Linux console and their like understand. The other screen, without a
// cursor, and without going on in the next line where one is full.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
constexpr std::string_view kLeave = "\x1b[m\x1b[?7h\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kReverse = "\x1b[7m";
constexpr std::string_view kPlain = "\x1b[m";

}  // namespace

Screen::Screen() : keys_(os::is_terminal(kInput) ? kInput : -1), key_by_key_(keys_) {
  os::wake_on_resize();
  output_.write(kEnter);
}

// Not by the output, which may have been given up.
Screen::~Screen() { static_cast<void>(std::fwrite(kLeave.data(), 1, kLeave.size(), stdout)); }

bool Screen::possible() noexcept {
  const char* const kind = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return os::is_terminal(kOutput) && kind != nullptr && *kind != '\0' &&
         std::string_view(kind) != "dumb";
}

os::WindowSize Screen::size() const noexcept { return os::window_size(kOutput); }

bool Screen::draw(std::span<const Line> lines) {
  const os::WindowSize window = size();
  std::string frame(kHome);
  const std::size_t rows = std::min(lines.size(), window.rows);
  for (std::size_t i = 0; i < rows; ++i) {
    std::string text = lines[i].text.substr(0, window.columns);
    if (lines[i].heading) text.resize(window.columns, ' ');
    if (i != 0) frame += "\r\n";
    if (lines[i].heading) frame += kReverse;
    frame += text;
    if (lines[i].heading) frame += kPlain;
    // In the last column it would erase what is there.
    if (text.size() < window.columns) frame += kEraseLineEnd;
  }
  if (rows < window.rows) frame += std::string("\r\n") + std::string(kEraseBelow);
  return output_.write(frame);
}

os::Key Screen::wait(int milliseconds) const noexcept {
  return os::wait_for_key(keys_, milliseconds);
}

}  // namespace tapedeck::cli
