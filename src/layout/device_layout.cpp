// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/layout/device_layout.hpp"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "layout/side_parts.hpp"
#include "layout/talk_parts.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal::inline TAPEDECK_ABI {

// The driver's plain allocations are aligned to 256 bytes, and its pages to far more.
DeviceTape DeviceMemory::start(std::size_t bytes, const TapePlan& plan, TapeOptions options) {
  const bool plain = plan.alignment() <= kDeviceLine;
  DeviceTape tape = plain ? DeviceTape::start(device, bytes, std::move(options))
                          : DeviceTape::reserve(pool, bytes, std::move(options));
  tape.prepare(bytes);
  return tape;
}

template class Side<DeviceMemory>;

}  // namespace tapedeck::internal::inline TAPEDECK_ABI

namespace tapedeck::inline TAPEDECK_ABI {

template class BasicTalk<internal::DeviceMemory>;

namespace {

// Each region must begin on its own page, so that it can be mapped separately.
TapePlan in_whole_pages(const TapePlan& plan, std::size_t page_bytes) {
  TapePlan out(plan.kind());
  for (Region region : plan.regions()) {
    region.alignment = std::max<std::uint64_t>(region.alignment, page_bytes);
    out.append(std::move(region));
  }
  return out;
}

}  // namespace

DeviceLayout::DeviceLayout(Device& device, Plan plan, DeviceLayoutOptions options)
    : Side({.device = device, .page_bytes = options.page_bytes}, std::move(plan),
           {.commit = options.commit,
            .growth_step = options.growth_step,
            .history_budget = options.history_budget,
            .extra = options.extra,
            .wipe = options.wipe_on_clear,
            .ahead = options.ahead}) {
  if (options.frames == 0 || options.frames > kMostFrames) {
    throw InvalidArgument({.argument = "DeviceLayoutOptions::frames",
                           .value = options.frames,
                           .limit = options.frames == 0 ? 1 : kMostFrames},
                          "a layout on " + device.label() + " cannot have " +
                              std::to_string(options.frames) + " frames of scratch",
                          "use from 1 to " + std::to_string(kMostFrames) + " frames");
  }
  if (options.commit != Commit::at_creation) {
    plan_.history = in_whole_pages(plan_.history, memory_.page_bytes());
  }
  const auto named = [&](const char* name) {
    return DeviceTapeOptions{.name = name, .block = options.block};
  };
  weights_ = make_tape(plan_.weights, named("weights"));
  std::vector<DeviceTape> frames;
  frames.reserve(options.frames);
  for (std::size_t i = 0; i < options.frames; ++i) {
    frames.push_back(make_tape(plan_.scratch, named("scratch")));
  }
  scratch_ = FrameRing<DeviceTape>(device, std::move(frames));
  make_histories(named("history"));
  start_growing_ahead();
}

DeviceLayout::~DeviceLayout() {
  if (options_.wipe) {
    static_cast<void>(internal::succeeds([this] { wipe_scratch(nullptr); }));
  }
}

void DeviceLayout::clear_talk(std::size_t talk) {
  static_cast<void>(this->talk(talk));  // refuses a talk that is closed or does not exist
  clear_slot(talk);
}

void DeviceLayout::clear_slot(std::size_t talk) {
  talks_[talk]->clear();
  if (options_.wipe) wipe_scratch(talks_[talk]->stream());
  scratch().clear();
}

// The next pass may use another stream, so the frames are zero when this returns.
void DeviceLayout::wipe_scratch(StreamHandle stream) {
  scratch_.wait_for_readers(stream);
  for (std::size_t i = 0; i < scratch_.size(); ++i) {
    const DeviceTape& frame = scratch_.frame(i);
    const std::size_t from = frame.floor_is_usable() ? 0 : frame.floor();
    const std::size_t to = std::min(frame.peak(), from + frame.committed());
    if (from < to) memory_.zero(frame.data() + from, to - from, stream);
  }
  memory_.wait_for(stream);
}

void DeviceLayout::seal() noexcept {
  const std::lock_guard growing(growing_);
  sealed_ = true;
  weights_.seal();
  for (std::size_t i = 0; i < scratch_.size(); ++i) scratch_.frame(i).seal();
  for (DeviceTape& history : histories_) history.seal();
}

DeviceStat DeviceLayout::stat() const noexcept {
  DeviceStat stat = {.pool_held = memory_.pool.held_bytes(),
                     .pool_free = memory_.pool.free_bytes()};
  fill_in(stat);
  return stat;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
