// SPDX-License-Identifier: Apache-2.0
#include "os/faults.hpp"

#include <atomic>

namespace tapedeck::internal::os {
namespace {

std::atomic<bool> armed{false};
std::atomic<std::uint64_t> calls_made{0};
std::atomic<const char*> failed_call{""};
std::uint64_t fail_at = 0;
int fail_with = 0;
thread_local bool uncounted = false;

}  // namespace

InjectFault::InjectFault(std::uint64_t n, int error) noexcept {
  fail_at = n;
  fail_with = error;
  calls_made.store(0);
  failed_call.store("");
  armed.store(true, std::memory_order_release);
}

InjectFault::~InjectFault() { armed.store(false, std::memory_order_release); }

std::uint64_t InjectFault::calls() noexcept { return calls_made.load(); }

bool InjectFault::fired() noexcept { return fail_at != 0 && calls_made.load() >= fail_at; }

bool InjectFault::idles() noexcept {
  return armed.load(std::memory_order_acquire) && fail_with == kSucceedsIdly;
}

const char* InjectFault::victim() noexcept { return failed_call.load(); }

UncountedCalls::UncountedCalls() noexcept { uncounted = true; }

UncountedCalls::~UncountedCalls() { uncounted = false; }

int injected(const char* call) noexcept {
  if (!armed.load(std::memory_order_acquire) || uncounted) [[likely]]
    return 0;
  if (calls_made.fetch_add(1) + 1 != fail_at) return 0;
  failed_call.store(call);
  return fail_with;
}

}  // namespace tapedeck::internal::os
