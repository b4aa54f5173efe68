// SPDX-License-Identifier: Apache-2.0
#include "layout/layer_source.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "base/on_failure.hpp"
#include "memory/tape_parts.hpp"
#include "os/fault_in.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::internal {
namespace {

struct PinnedRange {
  std::uintptr_t begin;
  std::uintptr_t end;
};

// Returns disjoint ranges of whole pages, because two ranges that share a page cannot both be
// pinned.
std::vector<PinnedRange> pages_to_pin(const StreamingPlan& plan,
                                      std::span<const std::span<const std::byte>> tensors) {
  const std::uintptr_t page = os::page_size();
  std::vector<PinnedRange> all;
  for (const StreamedLayer& layer : plan.layers) {
    if (layer.resident) continue;
    for (const StreamedPart& part : layer.parts) {
      const std::uintptr_t begin = address_of(tensors[part.tensor].data()) + part.from;
      if (part.bytes != 0) {
        all.push_back({round_down(begin, page), round_up(begin + part.bytes, page)});
      }
    }
  }
  std::ranges::sort(all, {}, &PinnedRange::begin);
  std::vector<PinnedRange> merged;
  for (const PinnedRange& range : all) {
    if (!merged.empty() && range.begin <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

}  // namespace

void append_run(std::vector<StreamedRun>& runs, const StreamedPart& part, const std::byte* from,
                bool left_out_before) {
  // Gaps of less than a page are readable, whatever is in them.
  constexpr std::uint64_t kMostPadding = 4095;
  if (!runs.empty() && !left_out_before) {
    StreamedRun& last = runs.back();
    const std::uint64_t distance = part.offset - last.offset;
    if (distance >= last.bytes && distance - last.bytes <= kMostPadding &&
        from == last.from + distance) {
      last.bytes = distance + part.bytes;
      return;
    }
  }
  runs.push_back({.from = from,
                  .offset = part.offset,
                  .bytes = part.bytes,
                  .tensor = part.tensor,
                  .tensor_from = part.from});
}

LayerSource::LayerSource(Device& device, const StreamingPlan& plan,
                         const TensorDirectory& directory,
                         std::span<const std::span<const std::byte>> tensors,
                         const LayerStreamerOptions& options)
    : device_(device), directory_(directory), tensors_(tensors) {
  if (plan.staging.empty()) {
    throw InvalidArgument({.argument = "plan"}, "the streaming plan has no staging buffers",
                          "make the plan with plan_streaming");
  }
  ring_.emplace(device, static_cast<std::size_t>(plan.staging.bytes()));
  OnFailure undo([this] { unpin(); });
  buffers_.reserve(plan.staging.regions().size());
  for (const Region& region : plan.staging.regions()) {
    buffers_.push_back({.at = ring_->handle() + region.offset, .copied = DeviceEvent(device)});
    buffer_bytes_ = static_cast<std::size_t>(region.bytes);
  }
  staged_ = options.source == StreamSource::staged;
  if (options.source == StreamSource::pin) pin(plan, options.pin_at_most);
  if (options.source == StreamSource::automatic) {
    try {
      pin(plan, options.pin_at_most);
    } catch (const Error& error) {
      unpin();
      staged_ = true;
      why_staged_ = error.what();
    }
  }
  undo.completed();
}

LayerSource::~LayerSource() { unpin(); }

void LayerSource::pin(const StreamingPlan& plan, std::uint64_t at_most) {
  const std::vector<PinnedRange> ranges = pages_to_pin(plan, tensors_);
  std::uint64_t bytes = 0;
  for (const PinnedRange& range : ranges) bytes += range.end - range.begin;
  if (bytes > at_most) {
    throw InvalidArgument(
        {.argument = "LayerStreamerOptions::pin_at_most", .value = bytes, .limit = at_most},
        "the streamed layers need " + to_iec(bytes) + " of pinned memory, but pin_at_most is " +
            to_iec(at_most),
        "raise pin_at_most, or use StreamSource::staged");
  }
  pinned_.reserve(ranges.size());
  for (const PinnedRange& range : ranges) {
    const auto* const at = reinterpret_cast<const std::byte*>(range.begin);
    device_.pin_read_only({at, range.end - range.begin});
    pinned_.push_back(at);
  }
}

void LayerSource::unpin() noexcept {
  for (const std::byte* const at : pinned_) device_.unpin(at);
  pinned_.clear();
}

void LayerSource::drop_idle_ring() noexcept {
  if (staged_) return;
  buffers_.clear();
  ring_.reset();
}

void LayerSource::copy(std::span<const StreamedRun> runs, std::byte* to, StreamHandle stream) {
  if (staged_) return copy_staged(runs, to, stream);
  for (const StreamedRun& run : runs) {
    device_.copy(to + run.offset, run.from, static_cast<std::size_t>(run.bytes), stream);
  }
}

void LayerSource::copy_staged(std::span<const StreamedRun> runs, std::byte* to,
                              StreamHandle stream) {
  for (const StreamedRun& run : runs) {
    for (std::uint64_t done = 0; done < run.bytes;) {
      const auto bytes =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer_bytes_, run.bytes - done));
      Buffer& buffer = buffers_[next_];
      buffer.copied.synchronize();
      fill_buffer(buffer.at, run, done, bytes);
      device_.copy(to + run.offset + done, buffer.at, bytes, stream);
      buffer.copied.record(stream);
      next_ = (next_ + 1) % buffers_.size();
      done += bytes;
    }
  }
}

// A mapped file may have been truncated since it was opened.
void LayerSource::fill_buffer(std::byte* buffer, const StreamedRun& run, std::uint64_t done,
                              std::size_t bytes) const {
  const os::Transferred got = os::copy_readable(buffer, run.from + done, bytes);
  if (got.error == 0) return;
  const TensorEntry& tensor = directory_.entries()[run.tensor];
  std::string path = directory_.files()[tensor.file].path.string();
  const std::uint64_t offset = tensor.offset + run.tensor_from + done + got.bytes;
  if (got.error == EFAULT) {
    throw FormatError({.path = std::move(path),
                       .offset = offset,
                       .field = std::string(tensor.name),
                       .fault = FormatFault::cut_off},
                      "the file was truncated inside its tensors after it was opened",
                      "replace a model's file by renaming, and never write to it in place");
  }
  throw SystemError({.call = "process_vm_readv",
                     .number = got.error,
                     .path = std::move(path),
                     .bytes = bytes,
                     .offset = offset});
}

}  // namespace tapedeck::internal
