#include "os/signals.hpp"

#include <signal.h>

namespace tapedeck::internal::os {
namespace {

void set_handler(int signal, void (*handler)(int)) noexcept {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void on_interrupt(void (*handler)(int)) noexcept {
  set_handler(SIGINT, handler);
  set_handler(SIGTERM, handler);
}

void ignore_broken_pipes() noexcept { set_handler(SIGPIPE, SIG_IGN); }

}  // namespace tapedeck::internal::os
