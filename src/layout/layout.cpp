#include "tapedeck/layout/layout.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "layout/stat_sum.hpp"
#include "layout/talk_regions.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/device_layout.hpp"
#include "tapedeck/layout/pass_guard.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace os = internal::os;
namespace {

constexpr std::uint64_t kMostTalks = std::uint64_t{1} << 20;

}  // namespace

// Members that exist are undone by the language when a later one throws.
Layout::Layout(const LayoutSizes& sizes, LayoutOptions options) {
  if (options.talks == 0) throw InvalidArgument("a layout with no talk", "ask for at least 1");
  weights_ = Tape::start_warm(sizes.weights, std::move(options.weights));
  scratch_ = Tape::start(sizes.scratch, std::move(options.scratch));
  for (std::size_t talk = 0; talk < options.talks; ++talk) {
    histories_.push_back(Tape::start(sizes.history, options.history));
  }
  if (!options.gpus.empty()) {
    throw InvalidArgument("a layout made from sizes has no devices", "make it from a plan");
  }
}

Layout::Layout(Plan plan, LayoutOptions options) : plan_(std::move(plan)) {
  if (plan_.profile != native_profile().name) {
    throw InvalidArgument("a layout of a plan for another engine", "plan with the native profile");
  }
  if (plan_.talks > kMostTalks) {
    throw InvalidArgument("a layout of " + std::to_string(plan_.talks) + " talks",
                          "plan for " + std::to_string(kMostTalks) + " at most");
  }
  if (plan_.talks == 0 || (options.talks != 1 && options.talks != plan_.talks)) {
    throw InvalidArgument("a layout of " + std::to_string(options.talks) +
                          " talks, of a plan for " + std::to_string(plan_.talks));
  }
  wipe_scratch_ = options.scratch.wipe_on_clear;
  wipe_history_ = options.history.wipe_on_clear;
  const bool now = options.commit != Commit::nothing;
  weights_ = weights_tape(options);
  scratch_ = make_tape(plan_.scratch, options.extra.scratch,
                       now ? Start::committed : Start::reserved, std::move(options.scratch));
  make_histories(options);
  make_gpus(std::move(options.gpus));
}

void Layout::make_gpus(std::vector<LayoutGpu> gpus) {
  if (gpus.size() > kMostGpus) {
    throw InvalidArgument("a layout of " + std::to_string(gpus.size()) + " devices",
                          std::to_string(kMostGpus) + " at most");
  }
  for (LayoutGpu& one : gpus) {
    if (one.device == nullptr) throw InvalidArgument("a layout on a device that is null");
    Plan plan = one.plan ? std::move(*one.plan) : plan_;
    if (plan.talks != plan_.talks) {
      throw InvalidArgument(one.device->label() + ": a plan of " + std::to_string(plan.talks) +
                            " talks, in a layout of " + std::to_string(plan_.talks));
    }
    gpus_.push_back(
        std::make_unique<DeviceLayout>(*one.device, std::move(plan), std::move(one.options)));
  }
}

void Layout::clear_pass_on_gpus() noexcept {
  for (const auto& gpu : gpus_) gpu->clear_pass();
}

void Layout::clear_talk_on_gpus(std::size_t talk) noexcept {
  for (const auto& gpu : gpus_) gpu->clear_talk(talk);
}

Tape Layout::weights_tape(LayoutOptions& options) {
  if (options.loaded_weights == nullptr) {
    const Start start = options.commit != Commit::nothing ? Start::warm : Start::reserved;
    return make_tape(plan_.weights, options.extra.weights, start, std::move(options.weights));
  }
  if (options.extra.weights != 0) {
    throw InvalidArgument(
        InvalidArgument::Facts{.argument = "LayoutOptions::extra", .value = options.extra.weights},
        "A tape of loaded weights has no room for extra ones.", "put them on a tape of your own");
  }
  find_loaded(*options.loaded_weights);
  const std::span<const std::byte> range = options.loaded_weights->range();
  // A tape's own type is not const, but below its floor nothing writes.
  const std::span<std::byte> whole{const_cast<std::byte*>(range.data()), range.size()};
  Tape tape = Tape::behind(whole, Block(), std::move(options.weights));
  tape.note_planned(whole.size(), false);
  return tape;
}

void Layout::find_loaded(const WeightsOwner& loaded) {
  loaded_at_.reserve(plan_.weights.regions().size());
  for (const Region& region : plan_.weights.regions()) {
    const std::optional<WeightsOwner::Tensor> tensor = loaded.tensor(region.name);
    if (!tensor || tensor->dtype != region.dtype || tensor->bytes.size() != region.bytes) {
      InvalidArgument::Facts facts = {.argument = "LayoutOptions::loaded_weights",
                                      .limit = region.bytes};
      if (tensor) facts.value = tensor->bytes.size();
      throw InvalidArgument(std::move(facts),
                            "The loaded weights have no tensor " + region.name + " of " +
                                std::to_string(region.bytes) + " bytes of type " +
                                std::string(to_string(region.dtype)) + ", as the plan has.",
                            "load the weights of the model that was planned");
    }
    loaded_at_.push_back(const_cast<std::byte*>(tensor->bytes.data()));
  }
}

Tape Layout::make_tape(const TapePlan& plan, std::size_t extra, Start start, TapeOptions options) {
  const std::size_t page = os::page_size();
  if (plan.alignment() > page) {
    throw InvalidArgument("tape " + options.name + ": a region aligned to " +
                          to_iec(plan.alignment()) + " where pages have " + to_iec(page));
  }
  if (start == Start::reserved) return reserve_tape(plan, extra, std::move(options));
  const auto total = checked_add<std::size_t>(plan.bytes(), extra);
  if (!total) throw InvalidArgument("tape " + options.name + ": more than can be addressed");
  if (*total == 0) return {};
  Tape tape = start == Start::warm ? Tape::start_warm(*total, std::move(options))
                                   : Tape::start(*total, std::move(options));
  static_cast<void>(tape.take(plan.bytes()));
  tape.raise_floor();
  return tape;
}

Tape Layout::reserve_tape(const TapePlan& plan, std::size_t extra, TapeOptions options) {
  const std::size_t page = os::page_size();
  // What is taken above begins with a page of its own.
  const auto planned = extra == 0 ? plan.bytes() : checked_round_up(plan.bytes(), page);
  const auto total = planned ? checked_add<std::size_t>(*planned, extra) : std::nullopt;
  if (!total) throw InvalidArgument("tape " + options.name + ": more than can be addressed");
  if (*total == 0) return {};
  Block& reserved = reserved_.emplace_back(Block::reserve(*total, options.block));
  Block above = extra == 0 ? Block() : reserved.part(*planned, extra);
  return Tape::behind({reserved.data(), *planned}, std::move(above), std::move(options));
}

void Layout::make_histories(const LayoutOptions& options) {
  const bool at_once = options.commit == Commit::at_creation;
  const TapePlan& plan = plan_.history;
  histories_.reserve(plan_.talks);
  for (std::size_t talk = 0; talk < plan_.talks; ++talk) {
    const std::size_t reservations = reserved_.size();
    Tape& tape = histories_.emplace_back(make_tape(plan, options.extra.history,
                                                   at_once ? Start::committed : Start::reserved,
                                                   options.history));
    const bool in_parts = reserved_.size() != reservations;
    regions_.push_back(in_parts ? std::make_unique<internal::TalkRegions>(
                                      plan, tape, reserved_.back(), options.growth_step)
                                : std::make_unique<internal::TalkRegions>(plan, tape));
    if (options.commit == Commit::with_talks) regions_.back()->commit_fixed();
  }
}

internal::TalkRegions& Layout::regions(std::size_t talk) const {
  assert(talk < histories_.size());
  if (regions_.empty()) {
    throw InvalidArgument("a layout made from sizes does not count tokens", "make it from a plan");
  }
  return *regions_[talk];
}

void Layout::prepare(std::size_t talk, std::uint64_t tokens) { regions(talk).prepare(tokens); }

std::uint64_t Layout::advance(std::size_t talk, std::uint64_t tokens) {
  return regions(talk).advance(tokens);
}

void Layout::rewind(std::size_t talk, std::uint64_t tokens) noexcept {
  if (!regions_.empty()) regions_[talk]->rewind(tokens, wipe_history_);
}

std::uint64_t Layout::tokens(std::size_t talk) const noexcept {
  return regions_.empty() ? 0 : regions_[talk]->tokens();
}

WarmResult Layout::warm(std::size_t talk, const WarmOptions& options) {
  return regions(talk).warm(options);
}

std::size_t Layout::decommit(std::size_t talk) noexcept {
  return regions_.empty() ? 0 : regions_[talk]->decommit();
}

// The next talk may be another tenant's.
void Layout::clear_regions(std::size_t talk) noexcept {
  regions_[talk]->clear(wipe_history_);
  if (wipe_scratch_ && scratch_.committed() >= scratch_.floor()) {
    std::memset(scratch_.data(), 0, scratch_.floor());
  }
}

Layout::~Layout() { assert(guard_ == nullptr && "a PassGuard must go before its layout"); }

std::size_t Layout::total() const noexcept {
  std::size_t bytes = weights_.total() + scratch_.total();
  for (const Tape& history : histories_) bytes += history.total();
  for (const auto& gpu : gpus_) bytes += gpu->total();
  return bytes;
}

Stat Layout::stat() const noexcept {
  Stat now;
  stat(now);
  return now;
}

void Layout::stat(Stat& stat) const noexcept {
  stat.weights = weights_.stat();
  stat.scratch = scratch_.stat();
  stat.history = {};
  stat.talks = talks();
  stat.tokens = 0;
  stat.longest_talk = 0;
  stat.largest_talk = 0;
  stat.passes = passes_.load(std::memory_order_relaxed);
  stat.conversations = conversations_.load(std::memory_order_relaxed);
  for (std::size_t talk = 0; talk < talks(); ++talk) {
    const TapeStat history = histories_[talk].stat();
    internal::add(stat.history, history);
    stat.largest_talk = std::max(stat.largest_talk, history.peak);
    if (regions_.empty()) continue;
    stat.tokens += regions_[talk]->tokens();
    stat.longest_talk = std::max(stat.longest_talk, regions_[talk]->most());
  }
  stat.gpus = gpus_.size();
  for (std::size_t i = 0; i < gpus_.size(); ++i) stat.gpu[i] = gpus_[i]->stat();
}

void Layout::end_guarded_pass() { guard_->end_pass(); }

void Layout::restart_guard() noexcept { guard_->restart(); }

TAPEDECK_ABI_END
}  // namespace tapedeck
