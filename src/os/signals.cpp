#include "os/signals.hpp"

#include <signal.h>

namespace tapedeck::internal::os {
namespace {

void set(int signal, void (*handler)(int)) noexcept {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void on_interrupt(void (*handler)(int)) noexcept {
  set(SIGINT, handler);
  set(SIGTERM, handler);
}

void ignore_broken_pipes() noexcept { set(SIGPIPE, SIG_IGN); }

}  // namespace tapedeck::internal::os
