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

/// A named range of a tape. The last three members are set by the `TapePlan` that takes it in: they
/// tell a layout whether its own plan has this very region.
struct Region {
  PartId id{};       ///< What it is.
  std::string name{};  ///< "layers.3.k", "decode.logits", or the tensor's own name.
  RegionRole role = RegionRole::weight;
  std::uint64_t offset = 0;  ///< From the start of the tape; a multiple of `alignment`.
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 64;
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape{};  ///< Slowest dimension first.
  Live live{};
  Growth growth{};
  TapeKind tape = TapeKind::weights;
  std::uint32_t index = 0;        ///< In `TapePlan::regions`.
  std::uint64_t plan_digest = 0;  ///< Of the plan up to and including this region.
};

/// What one tape holds below its floor. Thread-safety: a value.
///
/// Each region carries a digest of the plan up to itself, so that a layout refuses a region that
/// its own plan does not have at that place. Regions of equal plans are interchangeable, and a
/// region stays valid when its plan grows behind it.
class TapePlan {
 public:
  explicit TapePlan(TapeKind kind) noexcept : kind_(kind) {}

  [[nodiscard]] TapeKind kind() const noexcept { return kind_; }

  /// Puts a region behind all others, at its alignment; `offset` is set here. O(1) on average.
  /// @throws InvalidArgument where the end does not fit in 64 bits, the alignment is no power of
  /// two, the name is empty or another region's, or the region grows beyond its bytes.
  void append(Region region);
  /// Adds a region at the offset it states. It may lie over regions that live at other times.
  /// @throws InvalidArgument as `append`, and where the offset is not aligned.
  void place(Region region);

  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  [[nodiscard]] bool empty() const noexcept { return regions_.empty(); }
  /// nullptr where there is none. O(1) on average.
  [[nodiscard]] const Region* find(std::string_view name) const noexcept;
  /// @throws InvalidArgument where there is none.
  [[nodiscard]] const Region& at(std::string_view name) const;

  /// A value over the kind of tape and, of each region in order, all but its role: plans of one
  /// digest lay their tape out alike. The same on every machine.
  [[nodiscard]] std::uint64_t digest() const noexcept;
  /// The first one of that identity; nullptr where there is none. O(n).
  [[nodiscard]] const Region* find(const PartId& id) const noexcept;

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

/// Whether elements stored as `type` may be looked at as `T`: anything as bytes; a floating-point
/// or signed number as its own type only; else, as bits or as a struct, what has the size of an
/// element, or of a block.
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

/// Says which of the checks of `planned_region` a region failed.
[[noreturn]] void throw_foreign_region(const TapePlan& plan, const Region& region,
                                       std::size_t element_bytes);
[[noreturn]] void throw_misaligned_region(const Region& region, std::size_t alignment);

/// The plan's own region of that identity, whose elements may be viewed as `T`. O(1).
/// @throws InvalidArgument where the plan has no such region, or its type is another one.
template <class T>
[[nodiscard]] inline const Region& planned_region(const TapePlan& plan, const Region& region) {
  const std::span<const Region> own = plan.regions();
  if (region.index >= own.size() || own[region.index].plan_digest != region.plan_digest ||
      !may_view_as<T>(own[region.index].dtype)) [[unlikely]] {
    throw_foreign_region(plan, region, sizeof(T));
  }
  return own[region.index];
}

/// @throws InvalidArgument where a `T` cannot lie there.
template <class T>
[[nodiscard]] inline T* region_elements(const Region& region, std::byte* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % alignof(T) != 0) [[unlikely]] {
    throw_misaligned_region(region, alignof(T));
  }
  return reinterpret_cast<T*>(address);
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
