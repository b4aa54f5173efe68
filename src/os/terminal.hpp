// SPDX-License-Identifier: Apache-2.0
/// @file
/// Sizes, keys and signals of a terminal.
#pragma once

#include <termios.h>

#include <cstddef>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

struct WindowSize {
  std::size_t rows = 24;
  std::size_t columns = 80;

  friend bool operator==(const WindowSize&, const WindowSize&) = default;
};

/// The size of a terminal; 24 rows by 80 columns if it is unknown.
[[nodiscard]] WindowSize window_size(int descriptor) noexcept;

/// Makes SIGINT and SIGTERM call `handler` and interrupted system calls give EINTR. A signal that
/// this program was started to ignore stays ignored. A handler may only call async-signal-safe
/// functions; this function is one.
void on_interrupt(void (*handler)(int)) noexcept;
/// Does the same for SIGHUP, which says that the terminal was closed. nohup makes programs ignore
/// it.
void on_hangup(void (*handler)(int)) noexcept;
/// Makes writing to a pipe without a reader give EPIPE instead of ending the process.
void ignore_broken_pipes() noexcept;
/// Makes a change of the terminal's size interrupt `wait_for_key`, and nothing else.
void wake_on_resize() noexcept;

/// While an object exists, the terminal delivers keys immediately and does not echo them. Ctrl-C is
/// still a signal; Ctrl-Z and Ctrl-\ are not. Has no effect if the descriptor is not a terminal.
class KeyByKey {
 public:
  explicit KeyByKey(int descriptor) noexcept;
  ~KeyByKey();
  KeyByKey(const KeyByKey&) = delete;
  KeyByKey& operator=(const KeyByKey&) = delete;

 private:
  int descriptor_;
  termios before_{};  // declared before changed_, whose initializer fills it
  bool changed_;
};

enum class Waited : unsigned char { nothing, key, hung_up };
struct Key {
  Waited waited = Waited::nothing;  ///< `nothing` after a timeout or a signal.
  char key = '\0';
};
/// Waits for a key until a timeout. @param descriptor  -1 only waits.
[[nodiscard]] Key wait_for_key(int descriptor, int milliseconds) noexcept;

}  // namespace tapedeck::internal::os
