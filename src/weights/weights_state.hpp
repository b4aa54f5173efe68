// SPDX-License-Identifier: Apache-2.0
/// @file
/// `WeightsState`, which a `Weights` owns: its files, the segments of them that its range holds,
/// and the chunks that are brought in one by one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "os/file.hpp"
#include "os/kept_pages.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/memory/block.hpp"
#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::internal {

/// Files are divided into chunks at multiples of this offset. A chunk is large enough for a disk to
/// run at full speed, and small enough for a job to stop between two.
inline constexpr std::uint64_t kWeightsChunk = 8_MiB;

/// A run of a file's bytes that is contiguous in the range.
struct WeightsSegment {
  std::uint32_t file = 0;
  Way way = Way::map;
  std::uint64_t begin = 0;  ///< Offset in the file.
  std::uint64_t bytes = 0;
  std::uint64_t at = 0;         ///< Offset in the range.
  std::size_t first_chunk = 0;  ///< Number of its first chunk.

  [[nodiscard]] std::uint64_t end() const noexcept { return begin + bytes; }
  [[nodiscard]] std::size_t chunks() const noexcept {
    return bytes == 0
               ? 0
               : static_cast<std::size_t>((end() - 1) / kWeightsChunk - begin / kWeightsChunk + 1);
  }
};

/// A part of a segment that is brought in as a unit.
struct WeightsChunk {
  std::size_t number = 0;
  const WeightsSegment* segment = nullptr;
  std::uint64_t begin = 0;  ///< Offset in the file.
  std::span<std::byte> memory{};
};

/// The descriptors of a file.
struct OpenFile {
  os::Descriptor buffered{};
  os::Descriptor direct{};         ///< Only for files that are read past the page cache.
  bool in_huge_page_pool = false;  ///< It is in pages of the host's pool, or is read into them.
};

/// Thread-safety: const functions from any thread; `set_ready` from the thread that brought the
/// chunk in; everything else from the owner.
class WeightsState {
 public:
  TensorDirectory directory;
  std::vector<WeightsFile> files;
  std::vector<OpenFile> open_files;
  std::vector<WeightsSegment> segments;  // by file, and in a file by offset
  Block range;
  std::vector<Block> parts;  // of `range`, one for each file that is read into memory
  std::vector<Unmet> unmet;
  os::KeptPages kept;  // of mapped files, unless they are locked
  bool locked = false;
  std::atomic<bool> job_runs = false;

  /// Numbers the chunks of `segments`, which must not change any more. No chunk is ready yet.
  void number_chunks();
  [[nodiscard]] std::size_t chunks() const noexcept { return chunks_; }
  [[nodiscard]] WeightsChunk chunk(std::size_t number) const noexcept;

  [[nodiscard]] bool ready(std::size_t chunk) const noexcept {
    return ready_[chunk].load(std::memory_order_acquire);
  }
  void set_ready(std::size_t chunk, bool ready) noexcept {
    ready_[chunk].store(ready, std::memory_order_release);
  }

  /// Counts the pages of mapped files as needed by this process.
  void keep_pages();

  /// @throws InvalidArgument if the model has no tensor of this index.
  void check_tensor(std::size_t tensor) const;
  [[nodiscard]] TensorView view(std::size_t tensor) const noexcept;
  /// The segment that holds a tensor; nullptr for a tensor without bytes.
  [[nodiscard]] const WeightsSegment* segment_of(const TensorEntry& tensor) const noexcept;
  struct ChunkRange {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  [[nodiscard]] ChunkRange chunks_of(std::size_t tensor) const noexcept;
  [[nodiscard]] bool all_ready(std::size_t tensor) const noexcept;

  [[nodiscard]] std::span<std::byte> memory_of(const WeightsSegment& segment) const noexcept {
    return {range.data() + segment.at, static_cast<std::size_t>(segment.bytes)};
  }
  /// The whole pages around a segment.
  [[nodiscard]] std::span<std::byte> pages_of(const WeightsSegment& segment) const noexcept {
    return os::pages_around(memory_of(segment));
  }
  [[nodiscard]] const std::string& path_of(const WeightsSegment& segment) const {
    return files[segment.file].path.native();
  }
  /// The descriptor of a segment's file for access through the page cache.
  [[nodiscard]] int descriptor_of(const WeightsSegment& segment) const noexcept {
    return open_files[segment.file].buffered.get();
  }
  /// The segments of a file. O(log n).
  [[nodiscard]] std::span<const WeightsSegment> segments_of(std::size_t file) const noexcept;

 private:
  std::size_t chunks_ = 0;
  std::unique_ptr<std::atomic<bool>[]> ready_;
};

}  // namespace tapedeck::internal
