// SPDX-License-Identifier: Apache-2.0
#include "weights/weights_state.hpp"

#include <algorithm>
#include <utility>

#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {

void WeightsState::number_chunks() {
  chunks_ = 0;
  for (WeightsSegment& segment : segments) {
    segment.first_chunk = chunks_;
    chunks_ += segment.chunks();
  }
  ready_ = std::make_unique<std::atomic<bool>[]>(chunks_);
}

void WeightsState::keep_pages() {
  std::uint64_t mapped = 0;
  for (std::size_t file = 0; file != files.size(); ++file) {
    if (files[file].way == Way::map && !open_files[file].in_huge_page_pool) {
      mapped += files[file].bytes;
    }
  }
  kept = os::KeptPages(static_cast<std::size_t>(mapped));
}

WeightsChunk WeightsState::chunk(std::size_t number) const noexcept {
  const auto after = std::ranges::upper_bound(segments, number, {}, &WeightsSegment::first_chunk);
  const WeightsSegment& segment = *(after - 1);
  const std::uint64_t grid =
      (segment.begin / kWeightsChunk + (number - segment.first_chunk)) * kWeightsChunk;
  const std::uint64_t begin = std::max(grid, segment.begin);
  const std::uint64_t end = std::min(grid + kWeightsChunk, segment.end());
  return {.number = number,
          .segment = &segment,
          .begin = begin,
          .memory = memory_of(segment).subspan(static_cast<std::size_t>(begin - segment.begin),
                                               static_cast<std::size_t>(end - begin))};
}

std::span<const WeightsSegment> WeightsState::segments_of(std::size_t file) const noexcept {
  // Clang 14 does not compile libstdc++'s std::ranges::equal_range.
  const auto first = std::ranges::lower_bound(segments, file, {}, &WeightsSegment::file);
  const auto last = std::ranges::upper_bound(segments, file, {}, &WeightsSegment::file);
  return {first, last};  // empty if the file has no segments
}

const WeightsSegment* WeightsState::segment_of(const TensorEntry& tensor) const noexcept {
  if (tensor.bytes == 0) return nullptr;
  const std::span<const WeightsSegment> all = segments_of(tensor.file);
  const auto after = std::ranges::upper_bound(all, tensor.offset, {}, &WeightsSegment::begin);
  return &*(after - 1);
}

void WeightsState::check_tensor(std::size_t tensor) const {
  const std::size_t tensors = directory.entries().size();
  if (tensor < tensors) return;
  InvalidArgument::Facts facts = {.argument = "tensor", .value = tensor};
  if (tensors != 0) facts.limit = tensors - 1;
  throw InvalidArgument(std::move(facts),
                        "tensor " + std::to_string(tensor) +
                            " does not exist; the model has only " + std::to_string(tensors),
                        "tensors are numbered from 0, in the order of the directory");
}

TensorView WeightsState::view(std::size_t tensor) const noexcept {
  const TensorEntry& entry = directory.entries()[tensor];
  const WeightsSegment* segment = segment_of(entry);
  std::span<const std::byte> bytes(range.data(), 0);
  if (segment != nullptr) {
    bytes = memory_of(*segment).subspan(static_cast<std::size_t>(entry.offset - segment->begin),
                                        static_cast<std::size_t>(entry.bytes));
  }
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  return {.name = entry.name,
          .dtype = entry.dtype,
          .shape = entry.shape(),
          .bytes = bytes,
          .aligned = address % natural_alignment(entry.dtype) == 0};
}

WeightsState::ChunkRange WeightsState::chunks_of(std::size_t tensor) const noexcept {
  const TensorEntry& entry = directory.entries()[tensor];
  const WeightsSegment* segment = segment_of(entry);
  if (segment == nullptr) return {};
  const auto number_at = [&](std::uint64_t offset) {
    return segment->first_chunk +
           static_cast<std::size_t>(offset / kWeightsChunk - segment->begin / kWeightsChunk);
  };
  return {.begin = number_at(entry.offset), .end = number_at(entry.offset + entry.bytes - 1) + 1};
}

bool WeightsState::all_ready(std::size_t tensor) const noexcept {
  const ChunkRange range_of = chunks_of(tensor);
  for (std::size_t number = range_of.begin; number != range_of.end; ++number) {
    if (!ready(number)) return false;
  }
  return true;
}

}  // namespace tapedeck::internal
