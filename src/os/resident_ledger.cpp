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

// An arrival may take as long as a disk that hangs.
constexpr std::chrono::seconds kLongestWait{1};

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

// A fork must not copy a ledger that another thread is changing.
ResidentLedger::ResidentLedger() {
  ::pthread_atfork([] { of_process().mutex_.lock(); }, [] { of_process().mutex_.unlock(); },
                   [] {
                     of_process().go_on_in_child();
                     of_process().mutex_.unlock();
                   });
}

// The stacks of the other threads, where claims of their calls are, may be used for new ones.
void ResidentLedger::go_on_in_child() noexcept {
  new (&arrived_) std::condition_variable;
  arriving_ = 0;
  missing_ = 0;
  good_until_ = {};
  const std::thread::id nobody;
  for (Claim* claim = first_; claim != nullptr;) {
    Claim& here = *std::exchange(claim, claim->next_);
    const bool of_other = here.caller_ != nobody && here.caller_ != std::this_thread::get_id();
    if (!here.has_pages() || of_other) {
      here.missing_ = 0;
      unlink(here);
      continue;
    }
    if (here.new_on_fork_) {
      here.missing_ = 0;
      here.each_run([&](std::span<std::byte> pages) { here.missing_ += pages.size(); });
    }
    missing_ += here.missing_;
  }
}

void ResidentLedger::link(Claim& claim) noexcept {
  if (std::exchange(claim.linked_, true)) return;
  claim.next_ = first_;
  if (first_ != nullptr) first_->before_ = &claim;
  first_ = &claim;
}

void ResidentLedger::unlink(Claim& claim) noexcept {
  if (!std::exchange(claim.linked_, false)) return;
  (claim.before_ != nullptr ? claim.before_->next_ : first_) = claim.next_;
  if (claim.next_ != nullptr) claim.next_->before_ = claim.before_;
  claim.next_ = claim.before_ = nullptr;
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

void ResidentLedger::cut(Claim& claim, std::size_t missing) noexcept {
  if (missing >= claim.missing_) return;
  missing_ -= claim.missing_ - missing;
  claim.missing_ = missing;
}

// Stops as soon as no more than `enough` bytes are missing.
void ResidentLedger::measure_claims(std::size_t enough) {
  for (Claim* claim = first_; claim != nullptr && missing_ > enough; claim = claim->next_) {
    if (claim->missing_ == 0 || !claim->has_pages()) continue;
    std::size_t missing = 0;
    claim->each_run([&](std::span<std::byte> pages) {
      missing += pages.size() - bytes_there(pages, claim->source_);
    });
    cut(*claim, missing);
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
  const Clock::time_point deadline = Clock::now() + kLongestWait;
  while (!fits(missing_, available_)) {
    measure_claims(available_ - std::min(available_, bytes));
    ask_kernel();
    if (fits(missing_, available_)) break;
    const bool may_fit =
        arriving_ != 0 && fits(missing_ - std::min(missing_, arriving_), available_);
    if (!may_fit || Clock::now() >= deadline) {
      return Budget{.available = available_ - std::min(available_, missing_), .limit = limit_};
    }
    arrived_.wait_until(lock, deadline);
  }
  return std::nullopt;
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
  bool covered = false;
  for (const Claim* claim = ledger.first_; claim != nullptr && !covered; claim = claim->next_) {
    claim->each_run([&](std::span<std::byte> own) {
      covered = covered || (own.data() <= pages.data() &&
                            pages.data() + pages.size() <= own.data() + own.size());
    });
  }
  return covered;
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

// What the claim has and how much of it is missing change under one lock.
std::optional<Budget> ResidentLedger::Claim::add_to(std::size_t bytes, auto also) {
  ResidentLedger& ledger = of_process();
  Lock lock(ledger.mutex_);
  if (auto refused = ledger.refusal_of_claim(lock, bytes)) return refused;
  ledger.link(*this);
  also();
  missing_ += bytes;
  ledger.missing_ += bytes;
  return std::nullopt;
}

std::optional<Budget> ResidentLedger::Claim::add(std::size_t bytes) {
  return add_to(bytes, [] {});
}

std::optional<Budget> ResidentLedger::Claim::add_pages(std::span<std::byte> pages,
                                                       PageSource source, std::size_t bytes) {
  return add_to(bytes, [&] {
    pages_ = pages_.empty() ? pages : std::span(pages_.data(), pages_.size() + pages.size());
    source_ = source;
  });
}

std::optional<Budget> ResidentLedger::Claim::add_runs(const ClaimedRuns& runs, std::size_t bytes) {
  return add_to(bytes, [&] { runs_ = &runs; });
}

void ResidentLedger::Claim::each_run(const ClaimedRuns::RunDo& run_do) const {
  if (runs_ != nullptr) {
    runs_->each_run(run_do);
  } else if (!pages_.empty()) {
    run_do(pages_);
  }
}

void ResidentLedger::Claim::reduce(std::size_t missing) noexcept {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  ledger.cut(*this, missing);
}

void ResidentLedger::Claim::arrived(std::size_t bytes) noexcept {
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  ledger.cut(*this, missing_ - std::min(missing_, bytes));
}

void ResidentLedger::Claim::shrink_to(const std::byte* end) noexcept {
  if (pages_.empty() || end >= pages_.data() + pages_.size()) return;
  if (end <= pages_.data()) return release();
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  pages_ = pages_.first(static_cast<std::size_t>(end - pages_.data()));
  ledger.cut(*this, pages_.size());
}

void ResidentLedger::Claim::release() noexcept {
  if (!linked_) return;
  ResidentLedger& ledger = of_process();
  const Lock lock(ledger.mutex_);
  ledger.cut(*this, 0);
  pages_ = {};
  runs_ = nullptr;
  ledger.unlink(*this);
}

std::optional<Budget> ResidentLedger::Arrival::begin(std::size_t bytes) {
  ResidentLedger& ledger = of_process();
  Lock lock(ledger.mutex_);
  const Clock::time_point deadline = Clock::now() + kLongestWait;
  while (auto refused = ledger.refusal_of_arrival(bytes)) {
    const bool may_fit = ledger.arriving_ != 0 && bytes <= refused->available;
    if (!may_fit || Clock::now() >= deadline) return refused;
    ledger.arrived_.wait_until(lock, deadline);
  }
  ledger.left_ -= std::min(ledger.left_, bytes);
  ledger.arriving_ += bytes;
  bytes_ = bytes;
  return std::nullopt;
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
