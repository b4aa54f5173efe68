// SPDX-License-Identifier: Apache-2.0
#include "os/terminal.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/faults.hpp"

namespace tapedeck::internal::os {
namespace {

void set_handler(int signal, void (*handler)(int), int flags = 0) noexcept {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

void set_unless_ignored(int signal, void (*handler)(int)) noexcept {
  struct sigaction now {};
  if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) return;
  set_handler(signal, handler);
}

}  // namespace

WindowSize window_size(int descriptor) noexcept {
  winsize size{};
  if (injected("ioctl") != 0 || ::ioctl(descriptor, TIOCGWINSZ, &size) != 0) return {};
  if (size.ws_row == 0 || size.ws_col == 0) return {};
  return {.rows = size.ws_row, .columns = size.ws_col};
}

void on_interrupt(void (*handler)(int)) noexcept {
  set_unless_ignored(SIGINT, handler);
  set_unless_ignored(SIGTERM, handler);
}

void on_hangup(void (*handler)(int)) noexcept { set_unless_ignored(SIGHUP, handler); }

void ignore_broken_pipes() noexcept { set_handler(SIGPIPE, SIG_IGN); }

void wake_on_resize() noexcept {
  constexpr int kRestartsWrites = SA_RESTART;  // poll is never restarted
  set_handler(
      SIGWINCH, [](int) {}, kRestartsWrites);
}

KeyByKey::KeyByKey(int descriptor) noexcept
    : descriptor_(descriptor), changed_(::tcgetattr(descriptor, &before_) == 0) {
  if (!changed_) return;
  termios now = before_;
  now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  now.c_cc[VMIN] = 1;
  now.c_cc[VTIME] = 0;
  now.c_cc[VSUSP] = _POSIX_VDISABLE;
  now.c_cc[VQUIT] = _POSIX_VDISABLE;
  ::tcsetattr(descriptor, TCSANOW, &now);
}

KeyByKey::~KeyByKey() {
  if (changed_) ::tcsetattr(descriptor_, TCSANOW, &before_);
}

Key wait_for_key(int descriptor, int milliseconds) noexcept {
  if (injected("poll") != 0) return {.waited = Waited::hung_up};
  pollfd wait = {.fd = descriptor, .events = POLLIN, .revents = 0};
  if (::poll(&wait, 1, milliseconds) != 1) return {};
  char key = '\0';
  if (::read(descriptor, &key, 1) != 1) return {.waited = Waited::hung_up};
  return {.waited = Waited::key, .key = key};
}

}  // namespace tapedeck::internal::os
