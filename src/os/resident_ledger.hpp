// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ResidentLedger`: the account of the memory that this process has yet to make resident. Without
/// it, two threads would each find room for what only one of them can have, and the kernel would
/// kill the process.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "os/limits.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Which pages of a range exist already.
enum class PageSource : std::uint8_t {
  new_pages,
  page_cache,        ///< The pages may be in RAM already, even if this process has not mapped them.
  unreported_cache,  ///< As `page_cache`, but the kernel reports only the pages that are mapped.
  huge_page_pool,    ///< The host has set these pages aside; they do not count against the budget.
};

/// Bytes of a range of whole pages whose first write allocates no memory. Where the kernel reports
/// neither the pagemap nor mincore, all of them: what is unknown must not refuse memory.
[[nodiscard]] std::size_t bytes_there(std::span<std::byte> pages, PageSource source);

/// The pages of a claim that are not one range.
class ClaimedRuns {
 public:
  using RunDo = std::function<void(std::span<std::byte> pages)>;

  virtual ~ClaimedRuns() = default;
  /// Calls `run_do` with each range of pages that is claimed, or is about to be. Must not claim
  /// anything. Any thread may call this, at any time.
  virtual void each_run(const RunDo& run_do) const = 0;
};

/// There is one ledger for each process, because the limits apply to processes and groups of them.
/// A **claim** is memory that its owner may make resident at any time. An **arrival** is the part
/// of a claim that is becoming resident right now. The kernel's limits must have room for all
/// claims, as far as they are not resident yet.
///
/// Other processes are not in the ledger, but the kernel's answers are. A query costs as much as
/// mapping hundreds of pages, so its answer is used until other processes could have taken half of
/// what was left. For the same reason, memory becomes resident in steps, which are the smaller the
/// closer the limit. Many processes that fill one memory cgroup at the same moment may still exceed
/// it.
///
/// Thread-safety: any thread. A forked child continues with the claims on memory that it inherits,
/// but not with those of calls and jobs, whose threads it lacks. Its writes to pages that it shares
/// with the parent copy them, which is not claimed.
class ResidentLedger {
 public:
  class Claim;
  class Arrival;
  class Filling;

  ResidentLedger(const ResidentLedger&) = delete;
  ResidentLedger& operator=(const ResidentLedger&) = delete;

  /// The bytes that all claims may still make resident; an upper bound.
  [[nodiscard]] static std::size_t claimed() noexcept;

  /// A part of `bytes` that is small enough to be made resident before the limits are checked
  /// again: the closer the limit, the smaller. At least 64 KiB, or all of `bytes`.
  [[nodiscard]] static std::size_t step_of(std::size_t bytes) noexcept;

  /// Whether a claim has all of these pages. O(claims).
  [[nodiscard]] static bool covers(std::span<const std::byte> pages) noexcept;

  /// Reads the limits below other roots from now on, for tests.
  static void read_limits_of(KernelRoots roots);

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  ResidentLedger();
  [[nodiscard]] static ResidentLedger& of_process();
  static const bool kExistsBeforeMain;

  [[nodiscard]] std::optional<Budget> refusal_of_claim(Lock& lock, std::size_t bytes);
  [[nodiscard]] std::optional<Budget> refusal_of_arrival(std::size_t bytes);
  [[nodiscard]] bool knows_room_for(std::size_t bytes) const noexcept;
  void ask_kernel();
  void measure_claims(std::size_t enough);
  void cut(Claim& claim, std::size_t missing) noexcept;
  void link(Claim& claim) noexcept;
  void unlink(Claim& claim) noexcept;
  void go_on_in_child() noexcept;

  std::mutex mutex_;  // guards all other members, and all claims
  std::condition_variable arrived_;
  KernelRoots roots_;
  Claim* first_ = nullptr;     // the list of all claims
  std::size_t missing_ = 0;    // of all claims
  std::size_t arriving_ = 0;   // of all arrivals
  std::size_t available_ = 0;  // the kernel's last answer
  std::string limit_;
  std::size_t left_ = 0;            // of `available_`, without all arrivals of that time and since
  Clock::time_point good_until_{};  // of `left_`
};

/// Memory that its owner may make resident at any time, such as the committed part of a block.
/// Thread-safety: one thread at a time, except for `reduce`.
class ResidentLedger::Claim {
 public:
  Claim() = default;
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() { release(); }

  /// Adds `bytes`, unless the limits do not have room for them; then it returns the budget, less
  /// all claims, and changes nothing. O(1), unless the limit is near: then O(pages of all claims),
  /// and it may wait a second for arrivals.
  [[nodiscard]] std::optional<Budget> add(std::size_t bytes);
  /// Like `add`, but the bytes are in `pages`, so that the claim is measured near the limit.
  /// @pre `pages` is not empty, and begins where the claim's pages end, if it has any.
  [[nodiscard]] std::optional<Budget> add_pages(std::span<std::byte> pages, PageSource source,
                                                std::size_t bytes);
  /// Like `add`, but the bytes are in `runs`, which must outlive the claim or its release.
  [[nodiscard]] std::optional<Budget> add_runs(const ClaimedRuns& runs, std::size_t bytes);
  /// Releases the pages from `end` on.
  void shrink_to(const std::byte* end) noexcept;
  /// Reduces the claim to `missing` bytes, because all others are resident or no longer needed.
  void reduce(std::size_t missing) noexcept;
  /// Reduces the claim by pages that have become resident since they were added.
  void arrived(std::size_t bytes) noexcept;
  void release() noexcept;

  /// States that a forked child does not inherit the pages, but gets new ones.
  void renew_on_fork() noexcept { new_on_fork_ = true; }
  /// States that this claim ends with a call of this thread.
  void end_with_call() noexcept { caller_ = std::this_thread::get_id(); }

  [[nodiscard]] bool has_pages() const noexcept { return runs_ != nullptr || !pages_.empty(); }

 private:
  friend class ResidentLedger;

  [[nodiscard]] std::optional<Budget> add_to(std::size_t bytes, auto also);
  void each_run(const ClaimedRuns::RunDo& run_do) const;

  std::span<std::byte> pages_;
  const ClaimedRuns* runs_ = nullptr;  // instead of `pages_`
  PageSource source_ = PageSource::new_pages;
  bool new_on_fork_ = false;
  bool linked_ = false;
  std::size_t missing_ = 0;  // an upper bound of what is not resident
  std::thread::id caller_;   // if the claim ends with a call
  Claim* next_ = nullptr;
  Claim* before_ = nullptr;
};

/// Memory that is about to be made resident, for as long as that takes. It is part of a claim.
/// Thread-safety: one thread at a time.
class ResidentLedger::Arrival {
 public:
  Arrival() = default;
  Arrival(const Arrival&) = delete;
  Arrival& operator=(const Arrival&) = delete;
  ~Arrival() { end(); }

  /// Returns the budget if it has no room for `bytes`. Near the limit it waits for the arrivals of
  /// other threads, whose pages the kernel may or may not have counted, but no longer than a
  /// second.
  /// @pre this thread has no other arrival, for which it would wait.
  [[nodiscard]] std::optional<Budget> begin(std::size_t bytes);
  void end() noexcept;

 private:
  std::size_t bytes_ = 0;
};

/// A claim that arrives as a whole, such as a vector of zeros.
/// Thread-safety: one thread at a time.
class ResidentLedger::Filling {
 public:
  /// As `Arrival::begin`.
  [[nodiscard]] std::optional<Budget> begin(std::size_t bytes) {
    if (auto refused = claim_.add(bytes)) return refused;
    return arrival_.begin(bytes);
  }

 private:
  Claim claim_;
  Arrival arrival_;
};

/// Throws OutOfMemory if a budget refused memory.
void require_room(const std::optional<Budget>& refused, std::size_t needed,
                  const std::string& purpose, const std::string& advice);

/// Throws OutOfMemory if a call failed with ENOMEM because of a limit of `mapping_limits`.
void require_mapping_room(int error, std::size_t needed, const std::string& purpose);

}  // namespace tapedeck::internal::os
