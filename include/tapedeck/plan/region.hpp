// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Region` and `TapePlan`: named ranges of bytes that a tape will hold below its floor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/base/part_id.hpp"
#include "tapedeck/base/tape_kind.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// What a region is for. A plan's `Breakdown` has a sum for each role.
enum class RegionRole : std::uint8_t {
  weight,
  kv,         ///< Full-context caches, including latent and indexer caches.
  window,     ///< Caches of windowed and chunked layers.
  recurrent,  ///< States of fixed size.
  decode,     ///< Buffers of one decode step.
  prefill,    ///< Buffers of one micro-batch of a prompt.
};

[[nodiscard]] const char* to_string(RegionRole role) noexcept;

/// The stages at which a region holds data: from `begin` up to but excluding `end`. Regions whose
/// intervals do not intersect may overlap in memory.
struct Live {
  std::uint32_t begin = 0;
  std::uint32_t end = 0xffff'ffff;

  friend bool operator==(const Live&, const Live&) = default;
};

/// How a region fills as a talk grows: `bytes_per_token` for each token, up to `capacity` tokens.
/// A region with 0 `bytes_per_token` does not grow.
struct Growth {
  std::uint64_t bytes_per_token = 0;
  std::uint64_t capacity = 0;

  friend bool operator==(const Growth&, const Growth&) = default;
};

/// A named range of a tape. `TapePlan` sets `tape`, `index` and `plan_digest` when a region is
/// added. A layout uses them to check that its own plan has this region.
struct Region {
  PartId id{};         ///< What the region is: layer, expert and part.
  std::string name{};  ///< "layers.3.k", "decode.logits", or the tensor's own name.
  RegionRole role = RegionRole::weight;
  std::uint64_t offset = 0;  ///< Bytes from the tape's start; a multiple of `alignment`.
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 64;
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape{};  ///< Slowest dimension first.
  Live live{};
  Growth growth{};
  TapeKind tape = TapeKind::weights;
  std::uint32_t index = 0;        ///< Index in `TapePlan::regions`.
  std::uint64_t plan_digest = 0;  ///< Digest of the plan up to and including this region.
};

/// The regions that one tape holds below its floor. Thread-safety: a value.
///
/// Each region carries a digest of the plan up to and including itself, so that a layout can refuse
/// a region that its own plan does not have at that index. Regions of equal plans are
/// interchangeable. A region remains valid when more regions are added after it.
class TapePlan {
 public:
  explicit TapePlan(TapeKind kind) noexcept : kind_(kind) {}

  [[nodiscard]] TapeKind kind() const noexcept { return kind_; }

  /// Adds a region after all others, at its alignment, and sets its `offset`. O(1) on average.
  /// @throws InvalidArgument if the region's end does not fit in 64 bits, the alignment is not a
  /// power of two, the name is empty or already used, or the region grows beyond its bytes.
  void append(Region region);
  /// Adds a region at its own `offset`. It may overlap regions that are live at other stages.
  /// @throws InvalidArgument in the cases of `append`, and if the offset is not aligned.
  void place(Region region);

  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  [[nodiscard]] bool empty() const noexcept { return regions_.empty(); }
  /// Returns the region of that name, or nullptr if there is none. O(1) on average.
  [[nodiscard]] const Region* find(std::string_view name) const noexcept;
  /// Returns the region of that name.
  /// @throws InvalidArgument if there is none.
  [[nodiscard]] const Region& at(std::string_view name) const;

  /// A digest of the tape kind and of all regions in order, without their roles. Plans with equal
  /// digests describe the same tape. The value is the same on every machine.
  [[nodiscard]] std::uint64_t digest() const noexcept;
  /// Returns the first region of that identity, or nullptr if there is none. O(n).
  [[nodiscard]] const Region* find(const PartId& id) const noexcept;

  /// Sum of the regions' bytes.
  [[nodiscard]] std::uint64_t payload() const noexcept { return payload_; }
  /// Sum of the bytes of the regions of one role.
  [[nodiscard]] std::uint64_t payload(RegionRole role) const noexcept;
  /// What the tape holds below its floor: the extent of all regions, including padding and
  /// overlaps, rounded up to whole lines of 64 bytes.
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  /// The strictest alignment of any region, at least 64.
  [[nodiscard]] std::uint64_t alignment() const noexcept;

 private:
  struct NameHash {
    using is_transparent = void;
    [[nodiscard]] std::size_t operator()(std::string_view name) const noexcept {
      return std::hash<std::string_view>()(name);
    }
  };

  TapeKind kind_;
  std::vector<Region> regions_;
  std::unordered_map<std::string, std::uint32_t, NameHash, std::equal_to<>> by_name_;
  std::uint64_t payload_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

/// Returns true if elements stored as `type` may be viewed as `T`. A byte type may view anything.
/// A floating-point or signed type may view only numbers of its own type. Any other `T` (an
/// unsigned integer or a struct) must have the size of an element, or of a block.
template <class T>
[[nodiscard]] constexpr bool may_view_as(DType type) noexcept {
  using Element = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<Element, std::byte> || std::is_same_v<Element, unsigned char> ||
                std::is_same_v<Element, char>) {
    return true;
  } else if constexpr (std::is_floating_point_v<Element>) {
    return type == (sizeof(Element) == sizeof(double) ? DType::f64 : DType::f32) &&
           sizeof(Element) == traits(type).block_bytes;
  } else if constexpr (std::is_integral_v<Element> && std::is_signed_v<Element>) {
    return type >= DType::i8 && type <= DType::u64 && sizeof(Element) == traits(type).block_bytes;
  } else {
    return sizeof(Element) == traits(type).block_bytes;
  }
}

/// Throws InvalidArgument that states which check of `planned_region` the region failed.
[[noreturn]] void throw_foreign_region(const TapePlan& plan, const Region& region,
                                       std::size_t element_bytes);
[[noreturn]] void throw_misaligned_region(const Region& region, std::size_t alignment);

/// Returns the plan's own copy of `region` after checking that it may be viewed as `T`. O(1).
/// @throws InvalidArgument if the plan does not have the region, or its type does not match.
template <class T>
[[nodiscard]] inline const Region& planned_region(const TapePlan& plan, const Region& region) {
  const std::span<const Region> own = plan.regions();
  if (region.index >= own.size() || own[region.index].plan_digest != region.plan_digest ||
      !may_view_as<T>(own[region.index].dtype)) [[unlikely]] {
    throw_foreign_region(plan, region, sizeof(T));
  }
  return own[region.index];
}

/// @throws InvalidArgument if the address is not aligned for `T`.
template <class T>
[[nodiscard]] inline T* region_elements(const Region& region, std::byte* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % alignof(T) != 0) [[unlikely]] {
    throw_misaligned_region(region, alignof(T));
  }
  return reinterpret_cast<T*>(address);
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
