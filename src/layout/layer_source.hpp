/// @file
/// How the bytes of streamed layers leave the host: from where they lie, pinned, or through a ring
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

/// Parts of a layer that lie behind one another on both sides, and are copied as one.
struct StreamedRun {
  const std::byte* from = nullptr;
  std::uint64_t offset = 0;  ///< From where the layer begins on the device.
  std::uint64_t bytes = 0;
  std::uint32_t tensor = 0;       ///< The first part's,
  std::uint64_t tensor_from = 0;  ///< and where in it the run begins.
};

/// Puts a part behind the runs, or, where nothing was left out before it, makes the last one
/// longer. Parts come by offset.
void append_run(std::vector<StreamedRun>& runs, const StreamedPart& part, const std::byte* from,
                bool left_out_before = false);

/// Thread-safety: one thread at a time.
class LayerSource {
 public:
  /// @param tensors  the bytes of each, by its place in `directory`; both outlive this object.
  LayerSource(Device& device, const StreamingPlan& plan, const TensorDirectory& directory,
              std::span<const std::span<const std::byte>> tensors,
              const LayerStreamerOptions& options);
  ~LayerSource();
  LayerSource(const LayerSource&) = delete;
  LayerSource& operator=(const LayerSource&) = delete;

  [[nodiscard]] bool staged() const noexcept { return staged_; }
  /// Why it is, where that was not asked for.
  [[nodiscard]] const std::string& why_staged() const noexcept { return why_staged_; }

  /// Puts the copies on a stream. Staged, it waits until the last bytes have left for a buffer.
  /// @throws DeviceError; staged, FormatError or SystemError where the bytes are gone.
  void copy(std::span<const StreamedRun> runs, std::byte* to, StreamHandle stream);
  /// The same, staged in any case: what is read once need not be pinned.
  void copy_staged(std::span<const StreamedRun> runs, std::byte* to, StreamHandle stream);
  /// Gives the ring back, if it has only served `copy_staged`. @pre its copies have run.
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
