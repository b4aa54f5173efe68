// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/layout.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "layout/side_parts.hpp"
#include "layout/talk_parts.hpp"
#include "os/resident_ledger.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/layout/pass_guard.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

std::size_t HostMemory::page_bytes() noexcept { return os::page_size(); }

Tape HostMemory::start(std::size_t bytes, const TapePlan& plan, TapeOptions options) {
  return plan.kind() == TapeKind::weights ? Tape::start_warm(bytes, std::move(options))
                                          : Tape::start(bytes, std::move(options));
}

std::size_t HostMemory::most_new_pages(std::size_t wanted) {
  os::ResidentLedger::Claim probe;
  const auto refused = probe.add(wanted);
  return refused ? std::min(wanted, refused->available) : wanted;
}

template class Side<HostMemory>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

template class BasicTalk<internal::HostMemory>;

namespace {

void require_bytes(const char* argument, const char* tape, std::size_t bytes) {
  if (bytes != 0) return;
  throw InvalidArgument({.argument = argument, .value = 0, .limit = 1},
                        std::string("the ") + tape + " tape of the layout was given 0 bytes",
                        "give each tape at least 1 byte");
}

// An option that would have no effect is refused rather than ignored.
void require_no_option_of_plans(const LayoutOptions& options) {
  const LayoutOptions defaults;
  const LayoutSizes& extra = options.extra;
  for (const auto& [name, is_set] :
       {std::pair("LayoutOptions::commit", options.commit != defaults.commit),
        std::pair("LayoutOptions::growth_step", options.growth_step != defaults.growth_step),
        std::pair("LayoutOptions::extra",
                  extra.weights != 0 || extra.scratch != 0 || extra.history != 0),
        std::pair("LayoutOptions::history_budget", options.history_budget != 0),
        std::pair("LayoutOptions::ahead", options.ahead != 0),
        std::pair("LayoutOptions::resident_growth", options.resident_growth),
        std::pair("LayoutOptions::guard_unprepared", options.guard_unprepared),
        std::pair("LayoutOptions::loaded_weights", options.loaded_weights != nullptr),
        std::pair("LayoutOptions::gpus", !options.gpus.empty())}) {
    if (!is_set) continue;
    throw InvalidArgument({.argument = name},
                          std::string(name) + " has no effect on a layout made from sizes",
                          "leave it out, or make the layout from a plan");
  }
}

}  // namespace

// If a constructor throws, the destructors of existing members undo everything.
Layout::Layout(const LayoutSizes& sizes, LayoutOptions options) : Side({}, Plan{}, {}) {
  if (options.talks == 0 || options.talks > internal::kMostTalks) {
    throw InvalidArgument({.argument = "LayoutOptions::talks",
                           .value = options.talks,
                           .limit = options.talks == 0 ? 1 : internal::kMostTalks},
                          "a layout cannot have " + internal::count_of(options.talks, "talk"),
                          "use from 1 to " + std::to_string(internal::kMostTalks) + " talks");
  }
  require_bytes("LayoutSizes::weights", "weights", sizes.weights);
  require_bytes("LayoutSizes::scratch", "scratch", sizes.scratch);
  require_bytes("LayoutSizes::history", "history", sizes.history);
  require_no_option_of_plans(options);
  weights_ = Tape::start_warm(sizes.weights, std::move(options.weights));
  scratch_ = Tape::start(sizes.scratch, std::move(options.scratch));
  histories_.reserve(options.talks);  // talks refer to them
  for (std::size_t talk = 0; talk < options.talks; ++talk) {
    histories_.push_back(Tape::start(sizes.history, options.history));
    talks_.push_back(std::make_unique<Core>(talk, histories_.back(), Core::Setup{}));
  }
  closed_.reserve(options.talks);
}

Layout::Layout(Plan plan, LayoutOptions options)
    : Layout(std::move(plan), std::move(options), nullptr) {}

Layout::Layout(Plan plan, LayoutOptions options, std::unique_ptr<OwnedWeights> owned)
    : Side({}, std::move(plan),
           {.commit = options.commit,
            .growth_step = options.growth_step,
            .history_budget = options.history_budget,
            .extra = options.extra,
            .wipe = options.history.wipe_on_clear,
            .guard_unprepared = options.guard_unprepared,
            .resident_growth = options.resident_growth,
            .overcommit = options.history.block.overcommit,
            .ahead = options.ahead}),
      owned_(std::move(owned)) {
  if (options.talks != 1 && options.talks != plan_.talks) {
    throw InvalidArgument(
        {.argument = "LayoutOptions::talks", .value = options.talks, .limit = plan_.talks},
        "the options request " + internal::count_of(options.talks, "talk") + ", but the plan has " +
            std::to_string(plan_.talks),
        "set PlanOptions::sequences, which sets the number of talks, and leave "
        "LayoutOptions::talks at 1");
  }
  wipe_scratch_ = options.scratch.wipe_on_clear;
  weights_ = weights_tape(options);
  scratch_ = make_tape(plan_.scratch, std::move(options.scratch));
  make_histories(options.history);
  make_gpus(std::move(options.gpus));
  start_growing_ahead();
}

void Layout::make_gpus(std::vector<LayoutGpu> gpus) {
  if (gpus.size() > kMostGpus) {
    throw InvalidArgument(
        {.argument = "LayoutOptions::gpus", .value = gpus.size(), .limit = kMostGpus},
        "a layout can have at most " + std::to_string(kMostGpus) + " devices, but " +
            std::to_string(gpus.size()) + " were given");
  }
  for (LayoutGpu& one : gpus) {
    if (one.device == nullptr) {
      throw InvalidArgument({.argument = "LayoutGpu::device"},
                            "device " + std::to_string(gpus_.size()) + " of the layout is null",
                            "pass a Device that outlives the layout, or leave the element out of "
                            "LayoutOptions::gpus");
    }
    Plan plan = one.plan ? std::move(*one.plan) : plan_;
    if (plan.talks != plan_.talks) {
      throw InvalidArgument(
          {.argument = "LayoutGpu::plan", .value = plan.talks, .limit = plan_.talks},
          "the plan for " + one.device->label() + " has " + internal::count_of(plan.talks, "talk") +
              ", but the layout has " + std::to_string(plan_.talks),
          "make both plans with the same PlanOptions::sequences");
    }
    gpus_.push_back(
        std::make_unique<DeviceLayout>(*one.device, std::move(plan), std::move(one.options)));
  }
}

void Layout::throw_no_such_gpu(std::size_t i) const {
  InvalidArgument::Facts facts = {.argument = "gpu", .value = i};
  if (gpus() != 0) facts.limit = gpus() - 1;
  throw InvalidArgument(std::move(facts),
                        "the layout has " + internal::count_of(gpus(), "device") +
                            ", numbered from 0, but no device " + std::to_string(i),
                        "add the device to LayoutOptions::gpus, or use a lower number");
}

// Planned scratch is wiped as well, because the next talk may belong to another tenant.
void Layout::clear_talk(std::size_t talk) {
  static_cast<void>(this->talk(talk));  // refuses a talk that is closed or does not exist
  count_conversation(talk);
  talks_[talk]->clear();
  scratch_.clear();
  if (wipe_scratch_ && scratch_.floor_is_usable()) {
    std::memset(scratch_.data(), 0, plan_.scratch.bytes());
  }
  for (const auto& gpu : gpus_) gpu->clear_slot(talk);
  if (guard_ != nullptr) [[unlikely]]
    guard_->restart();
}

// The clear itself counts the talk if it has tokens on the host. What remains are talks that have
// tokens on devices only, and those that count no tokens.
void Layout::count_conversation(std::size_t talk) noexcept {
  if (talks_[talk]->tokens != 0) return;
  bool ended = !talks_[talk]->counts_tokens();
  for (const auto& gpu : gpus_) ended = ended || gpu->talks_[talk]->tokens != 0;
  if (ended) internal::increase(conversations_, std::uint64_t{1});
}

Tape Layout::weights_tape(LayoutOptions& options) {
  if (options.loaded_weights == nullptr) {
    return make_tape(plan_.weights, std::move(options.weights));
  }
  if (options.extra.weights != 0) {
    throw InvalidArgument(
        {.argument = "LayoutOptions::extra", .value = options.extra.weights, .limit = 0},
        "a weights tape of loaded weights has no room for extra ones", "put them on another tape");
  }
  find_loaded(*options.loaded_weights);
  const std::span<const std::byte> range = options.loaded_weights->range();
  // A tape's type is not const, but nothing writes below its floor.
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
                            "the plan has a tensor " + region.name + " of " +
                                internal::count_of(region.bytes, "byte") + " of type " +
                                std::string(to_string(region.dtype)) +
                                ", but the loaded weights do not",
                            "load the weights of the model that was planned");
    }
    loaded_at_.push_back(const_cast<std::byte*>(tensor->bytes.data()));
  }
}

Layout::~Layout() {
  assert(guard_ == nullptr && "a PassGuard must be destroyed before its layout");
}

std::size_t Layout::total() const noexcept {
  std::size_t bytes = total_of_tapes();
  for (const auto& gpu : gpus_) bytes += gpu->total();
  return bytes;
}

Stat Layout::stat() const noexcept {
  Stat now;
  stat(now);
  return now;
}

void Layout::stat(Stat& stat) const noexcept {
  fill_in(stat);
  stat.talks = talks();
  stat.passes = passes_.load(std::memory_order_relaxed);
  stat.conversations += conversations_.load(std::memory_order_relaxed);
  stat.gpus = gpus_.size();
  for (std::size_t i = 0; i < gpus_.size(); ++i) stat.gpu[i] = gpus_[i]->stat();
}

void Layout::end_guarded_pass() { guard_->end_pass(); }

}  // namespace tapedeck::inline TAPEDECK_ABI
