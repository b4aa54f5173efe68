// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.hpp"

#include <cstdlib>

#include "cli/exit_codes.hpp"
#include "os/terminal.hpp"

namespace tapedeck::cli {
namespace os = internal::os;
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "it is set in a signal handler");

void end(int) { std::_Exit(kInterrupted); }

void note(int) { interrupted.store(true, std::memory_order_relaxed); }

void remember(int) {
  interrupted.store(true, std::memory_order_relaxed);
  os::on_interrupt(end);
}

}  // namespace

void end_on_interrupt() noexcept {
  os::on_interrupt(end);
  os::on_hangup(end);
}

const std::atomic<bool>& stop_on_interrupt() noexcept {
  os::on_interrupt(remember);
  os::on_hangup(note);
  return interrupted;
}

const std::atomic<bool>& note_interrupts() noexcept {
  os::on_interrupt(note);
  os::on_hangup(note);
  return interrupted;
}

}  // namespace tapedeck::cli
