// SPDX-License-Identifier: Apache-2.0
/// @file
/// How the bytes of streamed layers leave the host: from pinned memory in place, or through a ring
/// of pinned buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tapedeck/device/device.hpp"
#include "tapedeck/device/device_stream.hpp"
#include "tapedeck/layout/layer_streamer.hpp"
#include "tapedeck/model/tensor_directory.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::internal {

/// Parts of a layer that are adjacent both on the host and on the device and are copied together.
struct StreamedRun {
  const std::byte* from = nullptr;
  std::uint64_t offset = 0;  ///< Bytes from the start of the layer on the device.
  std::uint64_t bytes = 0;
  std::uint32_t tensor = 0;       ///< The tensor of the first part.
  std::uint64_t tensor_from = 0;  ///< Bytes from the start of that tensor to the run.
};

/// Extends the last run by the part if it is adjacent and no part was left out before it;
/// otherwise appends a run. @pre Parts are passed in the order of their offsets.
void append_run(std::vector<StreamedRun>& runs, const StreamedPart& part, const std::byte* from,
                bool left_out_before = false);

/// Thread-safety: one thread at a time.
class LayerSource {
 public:
  /// @param tensors  the bytes of each tensor, in the order of `directory`. Both must outlive this
  /// object.
  LayerSource(Device& device, const StreamingPlan& plan, const TensorDirectory& directory,
              std::span<const std::span<const std::byte>> tensors,
              const LayerStreamerOptions& options);
  ~LayerSource();
  LayerSource(const LayerSource&) = delete;
  LayerSource& operator=(const LayerSource&) = delete;

  [[nodiscard]] bool staged() const noexcept { return staged_; }
  /// Returns why `StreamSource::automatic` chose staging; empty if it did not.
  [[nodiscard]] const std::string& why_staged() const noexcept { return why_staged_; }

  /// Puts the copies on a stream. If weights are staged, waits until the last bytes are in a buffer
  /// of the ring. @throws DeviceError; if weights are staged, also FormatError or SystemError for
  /// bytes that can no longer be read.
  void copy(std::span<const StreamedRun> runs, std::byte* to, StreamHandle stream);
  /// Like `copy`, but always staged, because bytes that are copied only once need not be pinned.
  void copy_staged(std::span<const StreamedRun> runs, std::byte* to, StreamHandle stream);
  /// Releases the ring unless `copy` needs it. @pre All copies from the ring have run.
  void drop_idle_ring() noexcept;

 private:
  struct Buffer {
    std::byte* at;
    DeviceEvent copied;
  };

  void pin(const StreamingPlan& plan, std::uint64_t at_most);
  void unpin() noexcept;
  void fill_buffer(std::byte* buffer, const StreamedRun& run, std::uint64_t done,
                   std::size_t bytes) const;

  Device& device_;
  const TensorDirectory& directory_;
  std::span<const std::span<const std::byte>> tensors_;
  std::vector<const std::byte*> pinned_;
  bool staged_ = false;
  std::string why_staged_;
  std::optional<PinnedMemory> ring_;
  std::size_t buffer_bytes_ = 0;
  std::vector<Buffer> buffers_;
  std::size_t next_ = 0;
};

}  // namespace tapedeck::internal
