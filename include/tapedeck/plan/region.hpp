/// @file
/// `Region` and `TapePlan`: named ranges of bytes that a tape will hold below its floor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

/// What a region is for; the breakdown of a plan is summed up by it.
enum class RegionRole : std::uint8_t {
  weight,
  kv,         ///< Caches over the full context, latent and indexer caches too.
  window,     ///< Caches of windowed and chunked layers.
  recurrent,  ///< States of fixed size.
  decode,     ///< Buffers of one decode step.
  prefill,    ///< Buffers of one micro-batch of a prompt.
};

[[nodiscard]] const char* to_string(RegionRole role) noexcept;

/// When a region holds something: from stage `begin` to before stage `end`. Regions whose intervals
/// do not meet may lie over each other.
struct Live {
  std::uint32_t begin = 0;
  std::uint32_t end = 0xffff'ffff;

  friend bool operator==(const Live&, const Live&) = default;
};

/// How a region fills as a talk grows: `bytes_per_token` for each token up to `capacity` tokens.
/// 0: it does not grow.
struct Growth {
  std::uint64_t bytes_per_token = 0;
  std::uint64_t capacity = 0;

  friend bool operator==(const Growth&, const Growth&) = default;
};

/// A named range of a tape.
struct Region {
  std::string name;  ///< "layers.3.k", "decode.logits", or the tensor's own name.
  RegionRole role = RegionRole::weight;
  std::uint64_t offset = 0;  ///< From the start of the tape; a multiple of `alignment`.
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 64;
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape{};  ///< Slowest dimension first.
  Live live{};
  Growth growth{};
};

/// What one tape holds below its floor. Thread-safety: a value.
class TapePlan {
 public:
  TapePlan() = default;

  /// Puts a region behind all others, at its alignment; `offset` is set here.
  /// @throws InvalidArgument where the end does not fit in 64 bits, the alignment is no power of
  /// two, the name is empty, or the region grows beyond its bytes.
  void append(Region region);
  /// Adds a region at the offset it states. It may lie over regions that live at other times.
  /// @throws InvalidArgument as `append`, and where the offset is not aligned.
  void place(Region region);

  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  [[nodiscard]] bool empty() const noexcept { return regions_.empty(); }
  /// nullptr where there is none. O(n).
  [[nodiscard]] const Region* find(std::string_view name) const noexcept;

  /// Sum of the regions' bytes.
  [[nodiscard]] std::uint64_t payload() const noexcept { return payload_; }
  /// Sum of the bytes of the regions of one role.
  [[nodiscard]] std::uint64_t payload(RegionRole role) const noexcept;
  /// The extent, with padding and overlaps, in whole lines of 64 bytes: what the tape holds below
  /// its floor.
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  /// The strictest alignment of any region; 64 at least.
  [[nodiscard]] std::uint64_t alignment() const noexcept;

 private:
  std::vector<Region> regions_;
  std::uint64_t payload_ = 0;
  std::uint64_t end_ = 0;
};

TAPEDECK_ABI_END
}  // namespace tapedeck
