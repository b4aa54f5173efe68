#include "memory/warm_pages.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "os/meminfo.hpp"
#include "os/pages.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

// For kernels without MADV_POPULATE: one access a page. Adding 0 is a write that changes nothing,
// also beside other writers.
void touch(std::span<std::byte> pages, os::Access access) noexcept {
  for (std::size_t at = 0; at < pages.size(); at += os::page_size()) {
    auto& word = reinterpret_cast<unsigned char&>(pages[at]);
    if (access == os::Access::write) {
      std::atomic_ref(word).fetch_add(0, std::memory_order_relaxed);
    } else {
      static_cast<void>(*static_cast<const volatile unsigned char*>(&word));
    }
  }
}

bool beyond(const os::Budget& budget, std::size_t bytes) {
  const std::size_t resident = os::resident_bytes().value_or(bytes);
  return bytes > resident && bytes - resident > budget.available;
}

/// The chunks of one warm, worked off by several threads.
class WarmJob {
 public:
  WarmJob(std::span<std::byte> pages, os::Access access, WarmSource source,
          const WarmOptions& options)
      : pages_(pages),
        access_(access),
        source_(source),
        options_(options),
        chunk_(std::max(round_down(options.chunk, os::page_size()), os::page_size())) {
    result_.asked = pages.size();
  }

  [[nodiscard]] WarmResult run() {
    // Asked once for the whole: a range that cannot fit must not fill the host first.
    if (fits(pages_)) work();
    if (thrown_) std::rethrow_exception(thrown_);
    result_.warmed = done_;
    if (result_.end == WarmEnd::over_budget && done_ == 0) return std::move(result_);
    result_.present = os::present_bytes(pages_.data(), pages_.size());
    return std::move(result_);
  }

 private:
  void work() {
    const std::size_t chunks = (pages_.size() + chunk_ - 1) / chunk_;
    const unsigned wanted = options_.threads != 0
                                ? options_.threads
                                : std::clamp(std::thread::hardware_concurrency(), 1U, 16U);
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < std::min<std::size_t>(wanted, chunks); ++i) {
      try {
        helpers.emplace_back([this] { take_chunks(); });
      } catch (const std::system_error&) {
        break;  // fewer threads warm more slowly, that is all
      }
    }
    take_chunks();
  }

  // What is thrown here, by a full heap, is thrown again by `run`.
  void take_chunks() noexcept {
    try {
      warm_chunks();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      keep_thrown();
    }
  }

  // What was thrown first is what `run` throws. Needs the lock.
  void keep_thrown() noexcept {
    if (!thrown_) thrown_ = std::current_exception();
    ended_ = true;
  }

  void warm_chunks() {
    while (!ended_) {
      const std::size_t from = next_.fetch_add(chunk_);
      if (from >= pages_.size()) return;
      const auto part = pages_.subspan(from, std::min(chunk_, pages_.size() - from));
      if (options_.stop.stop_requested()) return end({.end = WarmEnd::stopped});
      if (!fits(part)) return;
      const int error = os::populate(part.data(), part.size(), access_);
      if (error == EINVAL) {
        touch(part, access_);
      } else if (error != 0) {
        return end({.end = WarmEnd::failed, .error = error});
      }
      report(part.size());
    }
  }

  // Only what is not there yet counts, and it is only counted when it matters.
  [[nodiscard]] bool fits(std::span<std::byte> part) {
    if (source_ == WarmSource::huge_page_pool) return true;
    const std::optional<os::Budget> budget = os::memory_budget();
    if (!budget || part.size() <= budget->available) return true;
    // Counting the present pages of many TiB takes seconds.
    if (source_ == WarmSource::new_pages && beyond(*budget, part.size())) {
      end({.end = WarmEnd::over_budget, .available = budget->available, .limit = budget->limit});
      return false;
    }
    const std::size_t there =
        (source_ == WarmSource::page_cache ? os::cached_bytes(part.data(), part.size())
                                           : os::present_bytes(part.data(), part.size()))
            .value_or(0);
    if (part.size() - there <= budget->available) return true;
    end({.end = WarmEnd::over_budget, .available = budget->available, .limit = budget->limit});
    return false;
  }

  // Caught while the lock is held: nobody may be told anything once a call has thrown.
  void report(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    done_ += bytes;
    if (!options_.progress || thrown_) return;
    try {
      options_.progress({.done = done_, .total = pages_.size()});
    } catch (...) {
      keep_thrown();
    }
  }

  // The first reason to end is the one that is told.
  void end(WarmResult how) {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    how.asked = result_.asked;
    result_ = std::move(how);
    ended_ = true;
  }

  const std::span<std::byte> pages_;
  const os::Access access_;
  const WarmSource source_;
  const WarmOptions& options_;
  const std::size_t chunk_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::size_t done_ = 0;
  std::exception_ptr thrown_;
  WarmResult result_;
};

}  // namespace

std::optional<os::Budget> beyond_budget(std::size_t bytes) {
  std::optional<os::Budget> budget = os::memory_budget();
  return budget && beyond(*budget, bytes) ? budget : std::nullopt;
}

WarmResult warm_pages(std::span<std::byte> pages, os::Access access, WarmSource source,
                      const WarmOptions& options) {
  if (pages.empty()) return {.present = 0};
  return WarmJob(pages, access, source, options).run();
}

}  // namespace tapedeck::internal
