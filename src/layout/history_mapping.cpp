// SPDX-License-Identifier: Apache-2.0
#include "layout/history_mapping.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "memory/warm_pages.hpp"
#include "os/huge_pages.hpp"
#include "os/resident_ledger.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {
namespace {

#if defined(TAPEDECK_ASAN)
constexpr bool kKeepsUnpreparedInaccessible = true;
#else
constexpr bool kKeepsUnpreparedInaccessible = false;
#endif

// Each region with huge pages splits the mapping twice, and the kernel allows 65,530 mappings in a
// process by default.
constexpr std::size_t kMostHugeRuns = 8192;

constexpr auto kHugePages = static_cast<std::size_t>(Wish::huge_pages);

[[nodiscard]] bool needs_parts(const BlockOptions& block) {
  return kKeepsUnpreparedInaccessible || block.guard_pages || block.on_commit ||
         block.on_decommit || block.huge_pages == HugePages::explicit_pages;
}

[[nodiscard]] bool in_whole_pages(const TapePlan& plan) {
  return std::ranges::all_of(plan.regions(), [](const Region& region) {
    return region.bytes == 0 || region.offset % os::page_size() == 0;
  });
}

[[nodiscard]] int errno_of_failure(const auto& call) {
  try {
    call();
    return 0;
  } catch (const SystemError& error) {
    return error.number();
  } catch (const Error&) {  // beyond a limit of the address space, or beyond all addresses
    return ENOMEM;
  }
}

}  // namespace

std::unique_ptr<HistoryMapping> HistoryMapping::create(const Setup& setup, int& refusal) {
  const BlockOptions& asked = setup.options.block;
  if (setup.plan.bytes() == 0 || needs_parts(asked) || !in_whole_pages(setup.plan)) return nullptr;
  const auto bytes_per_talk = checked_round_up(setup.plan.bytes(), os::page_size());
  const auto bytes = bytes_per_talk ? checked_mul(*bytes_per_talk, setup.talks) : std::nullopt;
  BlockOptions options = asked;
  options.name = "tape " + setup.options.name;
  options.huge_pages = HugePages::never;
  options.overcommit = true;  // the talks claim what they need
  Block block;
  refusal = asked.lock || !bytes ? EOPNOTSUPP : errno_of_failure([&] {
    block = Block::reserve(*bytes, options);
    // In a process that has called mlockall, the kernel would make every page resident.
    if (!os::may_be_locked(block.data())) block.commit(*bytes);
  });
  if (refusal == 0 && block.committed() == 0) refusal = EOPNOTSUPP;
  if (refusal != 0) return nullptr;
  return std::unique_ptr<HistoryMapping>(
      new HistoryMapping(std::move(block), *bytes_per_talk, setup));
}

HistoryMapping::HistoryMapping(Block block, std::size_t bytes_per_talk, const Setup& setup)
    : block_(std::move(block)),
      bytes_per_talk_(bytes_per_talk),
      purpose_("committing tape " + setup.options.name),
      overcommit_(setup.options.block.overcommit),
      resident_(setup.resident),
      new_on_fork_(setup.options.block.on_fork == OnFork::zero) {
  for (const Unmet& one : block_.unmet()) {
    unmet_[static_cast<std::size_t>(one.wish)] = one.error;
  }
  const std::size_t huge = os::transparent_page_size();
  const bool wanted = setup.options.block.huge_pages == HugePages::transparent;
  if (!wanted || bytes_per_talk < huge) return;
  huge_page_ = huge;
  if (huge == 0 || os::refusal_on_touch(os::TouchedMemory::anonymous).empty()) return;
  unmet_[kHugePages] = EOPNOTSUPP;
}

/// Any thread may measure the claim, so it reads what the claim has from atomic members.
class HistoryMapping::Pages final : public TalkPages, private os::ClaimedRuns {
 public:
  Pages(HistoryMapping& mapping, std::byte* at, const TalkRegions& regions)
      : mapping_(mapping), at_(at), regions_(regions), unmet_(mapping.unmet_) {
    if (mapping.new_on_fork_) claim_.renew_on_fork();
  }
  ~Pages() override {
    claim_.release();  // before what it measures is gone
    count_huge_runs(0);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] std::size_t committed() const noexcept override {
    return any_ ? regions_.pages(tokens_, os::page_size()) : 0;
  }
  [[nodiscard]] std::size_t committed_in_regions() const noexcept override {
    std::size_t bytes = 0;
    each([&](std::byte* /*at*/, const TalkRegion& region) {
      bytes += std::min(pages_of(region), region.bytes);
    });
    return bytes;
  }
  [[nodiscard]] std::size_t missing(std::uint64_t tokens) const noexcept override {
    const std::size_t whole = regions_.pages(tokens, os::page_size());
    return whole - std::min(whole, committed());
  }

  void grow_to(std::uint64_t tokens) override {
    const std::size_t bytes = missing(tokens);
    const std::optional<std::uint64_t> before = held();
    // What is about to be claimed is measured as well, or the new claim would be taken for memory
    // that is there.
    hold(std::max(before.value_or(0), tokens));
    OnFailure undo([&] { hold(before); });
    if (!mapping_.overcommit_) {
      os::require_room(claim_.add_runs(*this, bytes), bytes, mapping_.purpose_,
                       "free some memory, or plan for less");
    }
    undo.completed();
    use_huge_pages(before);
    if (mapping_.resident_) make_resident(before, bytes);
  }

  // If the kernel refuses, such as for memory that was locked, the pages stay and are the talk's.
  std::size_t shrink_to(std::uint64_t tokens) noexcept override {
    return any_ && tokens < tokens_ ? give_back(tokens) : 0;
  }

  void note_unmet(WishErrors& errors) const override {
    for (std::size_t i = 0; i < kWishes; ++i) {
      if (unmet_[i] != 0) errors[i] = unmet_[i];
    }
  }

  [[nodiscard]] WarmResult warm(const WarmOptions& options) override {
    WarmResult sum{.present = 0};
    each([&](std::byte* at, const TalkRegion& region) {
      const std::size_t bytes = pages_of(region);
      if (!sum || bytes == 0) return;
      add_result(sum, warm_pages({.pages = {at, bytes},
                                  .source = os::PageSource::new_pages,
                                  .claimed = !mapping_.overcommit_},
                                 os::Access::write, options));
    });
    if (!sum) return sum;
    if (sum.present) claim_.reduce(committed() - *sum.present);
    move_into_huge_pages();
    return sum;
  }

 private:
  void each_run(const RunDo& run_do) const override {
    each([&](std::byte* at, const TalkRegion& region) {
      if (const std::size_t bytes = pages_of(region); bytes != 0) run_do({at, bytes});
    });
  }
  void each(auto region_do) const {
    for (const TalkRegion& region : regions_) region_do(at_ + region.offset, region);
  }
  [[nodiscard]] static std::size_t pages_of(const TalkRegion& region,
                                            std::optional<std::uint64_t> tokens) noexcept {
    return tokens ? round_up(region.needs(*tokens), os::page_size()) : 0;
  }
  [[nodiscard]] std::size_t pages_of(const TalkRegion& region) const noexcept {
    return pages_of(region, held());
  }

  /// The tokens that the pages hold; none if the talk has no pages.
  [[nodiscard]] std::optional<std::uint64_t> held() const noexcept {
    return any_ ? std::optional(tokens_.load()) : std::nullopt;
  }
  void hold(std::optional<std::uint64_t> tokens) noexcept {
    tokens_ = tokens.value_or(0);
    any_ = tokens.has_value();
  }

  // Returns the bytes given back. @pre `kept` is less than what the talk has.
  std::size_t give_back(std::optional<std::uint64_t> kept) noexcept {
    const std::size_t before = committed();
    os::AdviceForMany drop(os::Advice::drop_pages);
    os::AdviceForMany small(os::Advice::no_huge_pages);
    each([&](std::byte* at, const TalkRegion& region) {
      const std::size_t keep = pages_of(region, kept);
      const std::size_t rest = pages_of(region) - keep;
      if (whole_huge_pages(at, pages_of(region)) != 0) small.add(at + keep, rest);
      drop.add(at + keep, rest);
    });
    static_cast<void>(small.finish());
    if (drop.finish() != 0) return 0;
    hold(kept);
    claim_.reduce(committed());
    if (mapping_.huge_page_ != 0) count_huge_runs(regions_with_huge_pages());
    return before - committed();
  }

  void make_resident(std::optional<std::uint64_t> before, std::size_t bytes) {
    OnFailure undo([&] { give_back(before); });
    std::vector<std::span<std::byte>> runs;
    runs.reserve(regions_.size());
    each([&](std::byte* at, const TalkRegion& region) {
      const std::size_t has = pages_of(region, before);
      if (has != pages_of(region)) runs.emplace_back(at + has, pages_of(region) - has);
    });
    const PagesEnd end = populate_pages(runs);
    claim_.arrived(bytes);
    require_populated(end, bytes, mapping_.purpose_);
    undo.completed();
  }

  // Huge pages.

  /// The bytes of the whole huge pages in the first `bytes` at an address.
  [[nodiscard]] std::size_t whole_huge_pages(const std::byte* at, std::size_t bytes) const {
    const std::size_t huge = mapping_.huge_page_;
    if (huge == 0) return 0;
    const auto begin = reinterpret_cast<std::uintptr_t>(at);
    const std::uintptr_t first = round_up(begin, huge);
    return std::max(first, round_down(begin + bytes, huge)) - first;
  }
  [[nodiscard]] std::size_t regions_with_huge_pages() const {
    std::size_t count = 0;
    each([&](const std::byte* at, const TalkRegion& region) {
      if (whole_huge_pages(at, pages_of(region)) != 0) ++count;
    });
    return count;
  }
  void count_huge_runs(std::size_t runs) noexcept {
    mapping_.huge_runs_ += runs - std::exchange(huge_runs_, runs);
  }

  // One system call if a region has come to the end of a huge page, otherwise none.
  void use_huge_pages(std::optional<std::uint64_t> before) {
    if (mapping_.huge_page_ == 0) return;
    const std::size_t runs = regions_with_huge_pages();
    if (runs == 0 || mapping_.huge_runs_ + runs - huge_runs_ > kMostHugeRuns) return;
    count_huge_runs(runs);
    os::AdviceForMany advice(os::Advice::huge_pages);
    each([&](std::byte* at, const TalkRegion& region) {
      const std::size_t has = whole_huge_pages(at, pages_of(region, before));
      const std::size_t gets = whole_huge_pages(at, pages_of(region));
      if (gets == has) return;
      const auto first = round_up(reinterpret_cast<std::uintptr_t>(at), mapping_.huge_page_);
      advice.add(reinterpret_cast<std::byte*>(first + has), gets - has);
    });
    static_cast<void>(advice.finish());
  }

  // Where the first touch did not use huge pages, because a region had not claimed all of one, or
  // by the host's settings. @pre all pages are resident.
  void move_into_huge_pages() {
    if (mapping_.huge_page_ == 0) return;
    int& unmet = unmet_[kHugePages];
    int error = 0;
    each([&](std::byte* at, const TalkRegion& region) {
      if (whole_huge_pages(at, pages_of(region)) == 0) return;
      error = std::max(error, os::make_huge(at, pages_of(region)).value_or(unmet));
    });
    unmet = error;
  }

  HistoryMapping& mapping_;
  std::byte* const at_;
  const TalkRegions& regions_;
  WishErrors unmet_;
  std::atomic<bool> any_{false};          // whether the talk has pages
  std::atomic<std::uint64_t> tokens_{0};  // that the pages hold
  std::size_t huge_runs_ = 0;             // of this talk's regions
  os::ResidentLedger::Claim claim_;
};

std::unique_ptr<TalkPages> HistoryMapping::pages_of(std::size_t talk, const TalkRegions& regions) {
  return std::make_unique<Pages>(*this, at(talk), regions);
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
