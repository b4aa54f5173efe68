// SPDX-License-Identifier: Apache-2.0
#include "os/resident_ledger.hpp"

#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "os/faults.hpp"
#include "os/pages.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::os {
namespace {

// What is left for pages. Each page needs an entry of a page table, and the threads of this process
// and of others need memory that no ledger has.
std::size_t usable(std::size_t available) noexcept {
  constexpr std::size_t kReserve = 1_MiB;
  constexpr std::size_t kPagesOfATable = 512;
  const std::size_t rest = available - std::min(available, kReserve);
  return rest - rest / kPagesOfATable;
}

}  // namespace

std::size_t bytes_there(std::span<std::byte> pages, PageSource source) {
  if (source == PageSource::huge_page_pool) return pages.size();
  if (source == PageSource::page_cache) {
    return cached_bytes(pages.data(), pages.size()).value_or(pages.size());
  }
  const PageStates states = page_states(pages.data(), pages.size());
  if (states.present) return *states.present - states.zeros.value_or(0);
  return cached_bytes(pages.data(), pages.size()).value_or(pages.size());
}

// A fork must not copy a ledger that another thread is changing. The child lacks the other threads,
// with their arrivals and with the claims that have no pages.
ResidentLedger::ResidentLedger() {
  ::pthread_atfork([] { of_process().mutex_.lock(); }, [] { of_process().mutex_.unlock(); },
                   [] {
                     ResidentLedger& ledger = of_process();
                     new (&ledger.arrived_) std::condition_variable;
                     ledger.arriving_ = 0;
                     ledger.missing_ = 0;
                     for (Claim* claim = ledger.first_; claim != nullptr; claim = claim->next_) {
                       if (claim->new_on_fork_) claim->missing_ = claim->pages_.size();
                       ledger.missing_ += claim->missing_;
                     }
                     ledger.good_until_ = {};
                     ledger.mutex_.unlock();
                   });
}

// Never destroyed, because blocks with static storage duration may outlive it otherwise.
ResidentLedger& ResidentLedger::of_process() {
  static auto& ledger = *new ResidentLedger;
  return ledger;
}

// A fork during the first use would leave the child with a ledger that is never constructed.
const bool ResidentLedger::kExistsBeforeMain = (static_cast<void>(of_process()), true);

bool ResidentLedger::knows_room_for(std::size_t bytes) const noexcept {
  return bytes <= left_ / 2 && Clock::now() < good_until_;
}

void ResidentLedger::ask_kernel() {
  // No host fills its memory faster. At worst half of what was left is gone when it is asked again.
  constexpr std::size_t kBytesPerMillisecond = 32_MiB;
  constexpr std::size_t kMostMilliseconds = 1000;
  const UncountedCalls uncounted;
  std::optional<Budget> budget = memory_budget(roots_);
  available_ = budget ? usable(budget->available) : std::numeric_limits<std::size_t>::max();
  limit_ = budget ? std::move(budget->limit) : std::string();
  left_ = available_ - std::min(available_, arriving_);
  good_until_ = Clock::now() + std::chrono::milliseconds(std::min(
                                   available_ / 2 / kBytesPerMillisecond, kMostMilliseconds));
}

// Stops as soon as no more than `enough` bytes are missing.
void ResidentLedger::measure_claims(std::size_t enough) {
  for (Claim* claim = first_; claim != nullptr && missing_ > enough; claim = claim->next_) {
    if (claim->missing_ == 0) continue;
    const std::size_t there = bytes_there(claim->pages_, claim->source_);
    const std::size_t missing = std::min(claim->missing_, claim->pages_.size() - there);
    missing_ -= claim->missing_ - missing;
    claim->missing_ = missing;
  }
}

// The claims are measured before the kernel is asked, so that a page which arrives in between is
// counted twice rather than not at all.
std::optional<Budget> ResidentLedger::refusal_of_claim(Lock& lock, std::size_t bytes) {
  const auto fits = [&](std::size_t missing, std::size_t available) {
    return bytes <= available && missing <= available - bytes;
  };
  if (knows_room_for(bytes) && fits(missing_, left_ / 2)) return std::nullopt;
  ask_kernel();
  for (bool waits = true; !fits(missing_, available_);) {
    measure_claims(available_ - std::min(available_, bytes));
    ask_kernel();
    if (fits(missing_, available_)) break;
    waits = waits && arriving_ != 0 && fits(missing_ - std::min(missing_, arriving_), available_);
    if (!waits) {
      return Budget{.available = available_ - std::min(available_, missing_), .limit = limit_};
    }
    waits = wait_for_arrivals(lock);
  }
  return std::nullopt;
}

// An arrival may take as long as a disk that hangs.
bool ResidentLedger::wait_for_arrivals(Lock& lock) {
  return arrived_.wait_for(lock, std::chrono::seconds(1)) == std::cv_status::no_timeout;
}

std::optional<Budget> ResidentLedger::refusal_of_arrival(std::size_t bytes) {
  if (bytes == 0 || knows_room_for(bytes)) return std::nullopt;
  ask_kernel();
  if (bytes <= left_) return std::nullopt;
  return Budget{.available = available_, .limit = limit_};
}

std::size_t ResidentLedger::claimed() noexcept {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  return ledger.missing_;
}

bool ResidentLedger::covers(std::span<const std::byte> pages) noexcept {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  for (const Claim* claim = ledger.first_; claim != nullptr; claim = claim->next_) {
    const std::span<std::byte> own = claim->pages_;
    if (own.data() <= pages.data() && pages.data() + pages.size() <= own.data() + own.size()) {
      return true;
    }
  }
  return false;
}

void ResidentLedger::read_limits_of(KernelRoots roots) {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  ledger.roots_ = std::move(roots);
  ledger.good_until_ = {};
}

std::size_t ResidentLedger::step_of(std::size_t bytes) noexcept {
  constexpr std::size_t kShare = 32;
  constexpr std::size_t kLeast = 64_KiB;
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  const std::size_t step = std::max(ledger.left_ / kShare, kLeast);
  // Whole huge pages, if there is room for them.
  return std::min(bytes, step < 2_MiB ? step / kLeast * kLeast : step / 2_MiB * 2_MiB);
}

std::optional<Budget> ResidentLedger::Claim::add(std::size_t bytes) {
  ResidentLedger& ledger = of_process();
  Lock lock(ledger.mutex_);
  if (auto refused = ledger.refusal_of_claim(lock, bytes)) return refused;
  missing_ += bytes;
  ledger.missing_ += bytes;
  return std::nullopt;
}

std::optional<Budget> ResidentLedger::Claim::grow(std::span<std::byte> pages, PageSource source,
                                                  std::size_t bytes) {
  ResidentLedger& ledger = of_process();
  Lock lock(ledger.mutex_);
  if (auto refused = ledger.refusal_of_claim(lock, bytes)) return refused;
  if (pages_.empty()) {
    next_ = ledger.first_;
    if (next_ != nullptr) next_->before_ = this;
    ledger.first_ = this;
  }
  pages_ = pages;
  source_ = source;
  missing_ += bytes;
  ledger.missing_ += bytes;
  return std::nullopt;
}

void ResidentLedger::Claim::reduce(std::size_t missing) noexcept {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  if (missing >= missing_) return;
  // A forked child has forgotten claims without pages.
  ledger.missing_ -= std::min(ledger.missing_, missing_ - missing);
  missing_ = missing;
}

void ResidentLedger::Claim::shrink(std::size_t bytes) noexcept {
  if (bytes >= pages_.size()) return;
  reduce(bytes);
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  pages_ = pages_.first(bytes);
  if (bytes != 0) return;
  (before_ != nullptr ? before_->next_ : ledger.first_) = next_;
  if (next_ != nullptr) next_->before_ = before_;
  next_ = before_ = nullptr;
}

void ResidentLedger::Claim::release() noexcept {
  if (empty()) return;
  shrink(0);
  reduce(0);
}

bool ResidentLedger::Arrival::try_begin(std::size_t bytes, std::optional<Budget>& refused) {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  refused = ledger.refusal_of_arrival(bytes);
  if (refused && ledger.arriving_ != 0 && bytes <= refused->available) {
    refused.reset();
    return false;
  }
  if (refused) return true;
  ledger.left_ -= std::min(ledger.left_, bytes);
  ledger.arriving_ += bytes;
  bytes_ = bytes;
  return true;
}

std::optional<Budget> ResidentLedger::Arrival::begin(std::size_t bytes) {
  ResidentLedger& ledger = of_process();
  std::optional<Budget> refused;
  while (!try_begin(bytes, refused)) {
    Lock lock(ledger.mutex_);
    if (ledger.arriving_ == 0 || ledger.wait_for_arrivals(lock)) continue;
    return Budget{.available = ledger.left_, .limit = ledger.limit_};
  }
  return refused;
}

void ResidentLedger::Arrival::end() noexcept {
  if (bytes_ == 0) return;
  ResidentLedger& ledger = of_process();
  {
    const Lock lock(ledger.mutex_);
    ledger.arriving_ -= std::min(ledger.arriving_, bytes_);  // a forked child has forgotten them
    bytes_ = 0;
  }
  ledger.arrived_.notify_all();
}

void require_room(const std::optional<Budget>& refused, std::size_t needed,
                  const std::string& purpose, const std::string& advice) {
  if (!refused) return;
  throw OutOfMemory({.purpose = purpose,
                     .limit = refused->limit,
                     .needed = needed,
                     .available = refused->available},
                    advice);
}

void require_mapping_room(int error, std::size_t needed, const std::string& purpose) {
  if (error != ENOMEM) return;
  const UncountedCalls uncounted;
  const auto limit = tightest_of(mapping_limits());
  if (!limit || limit->available >= needed) return;
  require_room(limit, needed, purpose, "raise the limit (ulimit -v, ulimit -d), or request less");
}

}  // namespace tapedeck::internal::os
