// SPDX-License-Identifier: Apache-2.0
#include "memory/warm_pages.hpp"

#include <algorithm>
#include <optional>

#include "memory/chunk_job.hpp"
#include "os/fault_in.hpp"
#include "os/meminfo.hpp"
#include "os/pages.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::internal {
namespace {

bool beyond(const os::Budget& budget, std::size_t bytes) {
  const std::size_t resident = os::resident_bytes().value_or(bytes);
  return bytes > resident && bytes - resident > budget.available;
}

// The chunk size in whole pages, at least one page and at most `bytes`.
std::size_t chunk_bytes(const WarmOptions& options, std::size_t bytes) {
  return std::min(std::max(round_down(options.chunk, os::page_size()), os::page_size()), bytes);
}

/// A job that makes pages resident, which may exist already or not.
class PagesJob final : public ChunkJob {
 public:
  PagesJob(std::span<std::byte> pages, os::Access access, WarmSource source,
           const WarmOptions& options, std::size_t chunk)
      : ChunkJob(options, (pages.size() + chunk - 1) / chunk, pages.size()),
        pages_(pages),
        access_(access),
        source_(source),
        chunk_(chunk) {}
  PagesJob(const PagesJob&) = delete;
  PagesJob& operator=(const PagesJob&) = delete;
  ~PagesJob() override { join(); }

  [[nodiscard]] WarmResult run() {
    // Checked once for the whole range: a range that cannot fit must not first fill the host. Where
    // the kernel does not report what is missing, it may be nothing, and only chunks are checked.
    if (source_ == WarmSource::unreported_cache || fits(pages_)) {
      static_cast<void>(start_threads(wanted_threads() - 1));  // this thread also works
      work_here();
      join();
    }
    WarmResult out = result();
    if (out.end == WarmEnd::over_budget && out.warmed == 0) return out;
    out.present = os::page_states(pages_.data(), pages_.size()).present;
    return out;
  }

 private:
  void work() override {
    while (const std::optional<std::size_t> chunk = next_chunk()) {
      const std::size_t from = *chunk * chunk_;
      const auto part = pages_.subspan(from, std::min(chunk_, pages_.size() - from));
      if (!fits(part)) return;
      const int error = os::fault_in(part.data(), part.size(), access_);
      if (error != 0) return end({.end = WarmEnd::failed, .error = error});
      chunk_done(part.size());
    }
  }

  // Only pages that are not yet resident count, and they are counted only if that can matter.
  [[nodiscard]] bool fits(std::span<std::byte> part) {
    if (source_ == WarmSource::huge_page_pool) return true;
    const std::optional<os::Budget> budget = os::memory_budget();
    if (!budget || part.size() <= budget->available) return true;
    // Counting the present pages of many TiB takes seconds.
    if (source_ != WarmSource::new_pages || !beyond(*budget, part.size())) {
      if (part.size() - bytes_there(part) <= budget->available) return true;
    }
    end_over_budget(*budget);
    return false;
  }

  [[nodiscard]] std::size_t bytes_there(std::span<std::byte> part) const {
    if (source_ == WarmSource::page_cache) {
      return os::cached_bytes(part.data(), part.size()).value_or(0);
    }
    const os::PageStates states = os::page_states(part.data(), part.size());
    return states.present.value_or(0) - states.zeros.value_or(0);
  }

  const std::span<std::byte> pages_;
  const os::Access access_;
  const WarmSource source_;
  const std::size_t chunk_;
};

}  // namespace

std::optional<os::Budget> beyond_budget(std::size_t bytes) {
  std::optional<os::Budget> budget = os::memory_budget();
  return budget && beyond(*budget, bytes) ? budget : std::nullopt;
}

WarmResult warm_pages(std::span<std::byte> pages, os::Access access, WarmSource source,
                      const WarmOptions& options) {
  if (pages.empty()) return {.present = 0};
  return PagesJob(pages, access, source, options, chunk_bytes(options, pages.size())).run();
}

}  // namespace tapedeck::internal
