// SPDX-License-Identifier: Apache-2.0
#include "memory/warm_pages.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>

#include "memory/chunk_job.hpp"
#include "os/fault_in.hpp"
#include "os/meminfo.hpp"
#include "os/pages.hpp"
#include "os/resident_ledger.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

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

// What is missing is counted only if that can matter: counting the pages of many TiB takes seconds.
template <class Ask>
std::optional<os::Budget> refusal_of(std::span<std::byte> pages, os::PageSource source, Ask ask) {
  if (source == os::PageSource::huge_page_pool) return std::nullopt;
  std::optional<os::Budget> refused = ask(pages.size());
  if (!refused) return std::nullopt;
  if (source == os::PageSource::new_pages && beyond(*refused, pages.size())) return refused;
  return ask(pages.size() - os::bytes_there(pages, source));
}

/// Pages that are becoming resident, step by step.
class Warming {
 public:
  explicit Warming(const PagesToWarm& what) : what_(what) { claim_.end_with_call(); }

  /// Checked once for the whole range: a range that cannot fit must not first fill the host.
  [[nodiscard]] std::optional<os::Budget> begin() {
    // Where the kernel does not report what is missing, it may be nothing.
    if (what_.source == os::PageSource::unreported_cache) return std::nullopt;
    os::ResidentLedger::Arrival whole;
    return refusal_of(what_.pages, what_.source, [&](std::size_t bytes) {
      return what_.claimed ? whole.begin(bytes)
                           : claim_.add_pages(what_.pages, what_.source, bytes);
    });
  }

  /// Calls `bring_in` with one step of a part after the other. Returns false if `refuse` was called
  /// with the budget, or if `bring_in` returned false. Any thread.
  template <class BringIn, class Refuse>
  [[nodiscard]] bool advance(std::span<std::byte> part, BringIn bring_in, Refuse refuse) const {
    while (!part.empty()) {
      const auto step = part.first(os::ResidentLedger::step_of(part.size()));
      os::ResidentLedger::Arrival arrival;
      const auto refused =
          refusal_of(step, what_.source, [&](std::size_t bytes) { return arrival.begin(bytes); });
      if (refused) {
        refuse(*refused);
        return false;
      }
      if (!bring_in(step)) return false;
      part = part.subspan(step.size());
    }
    return true;
  }

  /// @param missing  the bytes of the range that may still be missing.
  void reduce(std::size_t missing) noexcept { claim_.reduce(missing); }

 private:
  const PagesToWarm what_;
  os::ResidentLedger::Claim claim_;
};

/// A job that makes pages resident, which may exist already or not.
class PagesJob final : public ChunkJob {
 public:
  PagesJob(const PagesToWarm& what, os::Access access, const WarmOptions& options,
           std::size_t chunk)
      : ChunkJob(options, (what.pages.size() + chunk - 1) / chunk, what.pages.size()),
        pages_(what.pages),
        access_(access),
        chunk_(chunk),
        warming_(what) {}
  PagesJob(const PagesJob&) = delete;
  PagesJob& operator=(const PagesJob&) = delete;
  ~PagesJob() override { join(); }

  [[nodiscard]] WarmResult run() {
    if (const std::optional<os::Budget> refused = warming_.begin()) {
      end_over_budget(*refused);
      return result();
    }
    static_cast<void>(start_threads(wanted_threads() - 1));  // this thread also works
    work_here();
    join();
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
      if (!bring_in(part)) return;
      warming_.reduce(pages_.size() - warmed_.fetch_add(part.size()) - part.size());
      chunk_done(part.size());
    }
  }

  [[nodiscard]] bool bring_in(std::span<std::byte> part) {
    const auto fault_in = [&](std::span<std::byte> step) {
      const int error = os::fault_in(step.data(), step.size(), access_);
      if (error != 0) end({.end = WarmEnd::failed, .error = error});
      return error == 0;
    };
    return warming_.advance(part, fault_in,
                            [&](const os::Budget& budget) { end_over_budget(budget); });
  }

  const std::span<std::byte> pages_;
  const os::Access access_;
  const std::size_t chunk_;
  Warming warming_;
  std::atomic<std::size_t> warmed_{0};
};

}  // namespace

std::optional<os::Budget> beyond_budget(std::size_t bytes) {
  std::optional<os::Budget> budget = os::memory_budget();
  return budget && beyond(*budget, bytes) ? budget : std::nullopt;
}

WarmResult warm_pages(const PagesToWarm& what, os::Access access, const WarmOptions& options) {
  if (what.pages.empty()) return {.present = 0};
  return PagesJob(what, access, options, chunk_bytes(options, what.pages.size())).run();
}

namespace {

// `bring_in` returns errno for one step.
template <class BringIn>
PagesEnd bring_in_pages(const Warming& warming, std::span<std::byte> pages, BringIn bring_in) {
  PagesEnd end;
  static_cast<void>(warming.advance(
      pages,
      [&](std::span<std::byte> step) {
        end.error = bring_in(step);
        return end.error == 0;
      },
      [&](const os::Budget& budget) { end = {.error = ENOMEM, .refused = budget}; }));
  return end;
}

}  // namespace

PagesEnd populate_pages(std::span<std::byte> pages) {
  const Warming warming({.pages = pages, .source = os::PageSource::new_pages, .claimed = true});
  return bring_in_pages(warming, pages, [](std::span<std::byte> step) {
    return os::fault_in(step.data(), step.size(), os::Access::write);
  });
}

PagesEnd populate_pages(std::span<const std::span<std::byte>> ranges) {
  std::size_t bytes = 0;
  for (const std::span<std::byte> range : ranges) bytes += range.size();
  if (os::ResidentLedger::step_of(bytes) == bytes) {
    os::ResidentLedger::Arrival arrival;
    if (!arrival.begin(bytes)) {
      os::AdviceForMany populate(os::Advice::populate_write);
      for (const std::span<std::byte> range : ranges) populate.add(range.data(), range.size());
      if (populate.finish() == 0) return {};
    }
  }
  // In smaller steps, or by the way that the kernel has.
  for (const std::span<std::byte> range : ranges) {
    PagesEnd end = populate_pages(range);
    if (end.error != 0) return end;
  }
  return {};
}

void require_populated(const PagesEnd& end, std::size_t bytes, const std::string& purpose) {
  os::require_room(end.refused, bytes, purpose, "free some memory, or plan for less");
  if (end.error == 0) return;
  throw SystemError({.call = "madvise", .number = end.error, .bytes = bytes, .object = purpose});
}

PagesEnd lock_pages(const PagesToWarm& what) {
  Warming warming(what);
  PagesEnd end = {.refused = warming.begin()};
  if (end.refused) {
    end.error = ENOMEM;
    return end;
  }
  end = bring_in_pages(warming, what.pages, [](std::span<std::byte> step) {
    return os::lock(step.data(), step.size());
  });
  if (end.error != 0) static_cast<void>(os::unlock(what.pages.data(), what.pages.size()));
  return end;
}

}  // namespace tapedeck::internal
