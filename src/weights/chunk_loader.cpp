// SPDX-License-Identifier: Apache-2.0
#include "weights/chunk_loader.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string>

#include "os/fault_in.hpp"
#include "os/file.hpp"
#include "os/pages.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/error.hpp"
#include "weights/placement.hpp"

namespace tapedeck::internal {
namespace {

/// Fills all of `into`. @throws SystemError, FormatError
void read_whole(int descriptor, const std::string& path, std::uint64_t offset,
                std::span<std::byte> into) {
  const os::Transferred got = os::read_at(descriptor, into, offset);
  offset += got.bytes;
  if (got.error != 0) {
    throw SystemError({.call = "pread",
                       .number = got.error,
                       .path = path,
                       .bytes = into.size(),
                       .offset = offset});
  }
  if (got.bytes == into.size()) return;
  throw FormatError({.path = path, .offset = offset, .fault = FormatFault::cut_off},
                    "the file was truncated within its tensors after it was opened",
                    "copy or download it again");
}

// A failed mapping reports only EFAULT, neither the page nor the reason. Reading reports both.
void explain_fault(int descriptor, const std::string& path, const WeightsChunk& chunk) {
  std::array<std::byte, 65536> part;
  const std::uint64_t end = chunk.begin + chunk.memory.size();
  for (std::uint64_t at = chunk.begin; at < end;) {
    const std::size_t want =
        static_cast<std::size_t>(std::min<std::uint64_t>(part.size(), end - at));
    read_whole(descriptor, path, at, std::span(part).first(want));
    at += want;
  }
}

/// The whole pages around a chunk, which a direct read needs.
struct DirectRead {
  std::uint64_t offset;
  std::span<std::byte> memory;
};

DirectRead direct_read_of(const WeightsChunk& chunk) noexcept {
  const std::span<std::byte> pages = os::pages_around(chunk.memory);
  const auto before = static_cast<std::uint64_t>(chunk.memory.data() - pages.data());
  return {.offset = chunk.begin - before, .memory = pages};
}

}  // namespace

bool ChunkLoader::begin(const WeightsChunk& chunk) {
  switch (chunk.segment->way) {
    case Way::direct:
      if (is_page_congruent(*chunk.segment) && !is_cached(chunk)) return begin_direct(chunk);
      [[fallthrough]];
    case Way::read:
      read(chunk, chunk.begin);
      return true;
    default:
      map(chunk);
      return true;
  }
}

void ChunkLoader::map(const WeightsChunk& chunk) {
  const std::span<std::byte> pages = os::pages_around(chunk.memory);
  const int error = os::fault_in(pages.data(), pages.size(), os::Access::read);
  if (error == 0) return;
  const std::string& path = state_.path_of(*chunk.segment);
  if (error == EFAULT && chunk.segment->way == Way::map) {
    explain_fault(state_.descriptor_of(*chunk.segment), path, chunk);
  }
  throw SystemError({.call = "madvise",
                     .number = error,
                     .path = path,
                     .bytes = pages.size(),
                     .offset = chunk.begin});
}

void ChunkLoader::read(const WeightsChunk& chunk, std::uint64_t from) {
  read_whole(state_.descriptor_of(*chunk.segment), state_.path_of(*chunk.segment), from,
             chunk.memory.subspan(static_cast<std::size_t>(from - chunk.begin)));
}

// Bytes that are in the page cache are copied from it: reading them from disk would be slower.
bool ChunkLoader::is_cached(const WeightsChunk& chunk) const {
  const auto cached =
      os::cached_file_bytes(state_.descriptor_of(*chunk.segment), chunk.begin, chunk.memory.size());
  return cached && *cached > chunk.memory.size() / 2;
}

bool ChunkLoader::begin_direct(const WeightsChunk& chunk) {
  const int descriptor = state_.open_files[chunk.segment->file].direct.get();
  const DirectRead direct = direct_read_of(chunk);
  if (!ring_ && !ring_refused_ && depth_ != 0) {
    ring_ = os::Ring::make(depth_);
    ring_refused_ = ring_ == nullptr;
  }
  if (ring_ && !ring_refused_) {
    if (ring_->read(descriptor, direct.memory, direct.offset, chunk.number) == 0) return false;
    ring_refused_ = true;  // reads under way still complete
  }
  const os::Transferred got = os::read_at(descriptor, direct.memory, direct.offset);
  finish_direct(chunk, got.bytes, got.error);
  return true;
}

WeightsChunk ChunkLoader::finish_one() {
  const os::Ring::Done done = ring_->wait();
  if (done.wait_error != 0) {
    throw SystemError(
        {.call = "io_uring_enter", .number = done.wait_error, .object = "reading weights"});
  }
  const WeightsChunk chunk = state_.chunk(static_cast<std::size_t>(done.tag));
  finish_direct(chunk, done.bytes, done.error);
  return chunk;
}

// Bytes that a direct read did not deliver are read again with a buffered read, which fails for
// fewer reasons and reports the exact offset if it does.
void ChunkLoader::finish_direct(const WeightsChunk& chunk, std::size_t got, int error) {
  const std::uint64_t have = direct_read_of(chunk).offset + (error == 0 ? got : 0);
  const std::uint64_t end = chunk.begin + chunk.memory.size();
  if (have < end) read(chunk, std::max(have, chunk.begin));
}

}  // namespace tapedeck::internal
