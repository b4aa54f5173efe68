/// @file
/// What a program at a terminal meets: sizes, keys and signals.
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

/// Of a terminal; the usual one where it does not tell.
[[nodiscard]] WindowSize window_size(int descriptor) noexcept;

/// From now on SIGINT and SIGTERM call `handler`, and system calls they interrupt give EINTR. In a
/// handler only what is async-signal-safe may be done; this function is.
void on_interrupt(void (*handler)(int)) noexcept;
/// From now on writing to a pipe nobody reads gives EPIPE instead of ending the process.
void ignore_broken_pipes() noexcept;
/// From now on a new size of the terminal interrupts `wait_for_key`, and nothing else.
void wake_on_resize() noexcept;

/// While alive, a terminal gives its keys at once and shows none; Ctrl-C is still a signal, Ctrl-Z
/// and Ctrl-\ are not. Does nothing to what is no terminal.
class KeyByKey {
 public:
  explicit KeyByKey(int descriptor) noexcept;
  ~KeyByKey();
  KeyByKey(const KeyByKey&) = delete;
  KeyByKey& operator=(const KeyByKey&) = delete;

 private:
  int descriptor_;
  termios before_{};  // made before it is asked for
  bool changed_;
};

enum class Waited : unsigned char { nothing, key, hung_up };
struct Key {
  Waited waited = Waited::nothing;  ///< Nothing came in time, or before a signal.
  char key = '\0';
};
/// @param descriptor  -1: only waits.
[[nodiscard]] Key wait_for_key(int descriptor, int milliseconds) noexcept;

}  // namespace tapedeck::internal::os
