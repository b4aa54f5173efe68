// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/region.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/amounts.hpp"
#include "base/on_failure.hpp"
#include "plan/sizes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

void check_region(const Region& region) {
  if (region.name.empty()) {
    throw InvalidArgument({.argument = "Region::name"}, "a region of a plan must have a name");
  }
  internal::require_alignment(region);
  const auto filled = checked_mul(region.growth.bytes_per_token, region.growth.capacity);
  if (!filled || *filled > region.bytes) {
    throw InvalidArgument(
        {.argument = "Region::growth", .value = filled, .limit = region.bytes},
        "region " + region.name + " grows beyond its " + internal::count_of(region.bytes, "byte"));
  }
}

[[noreturn]] void throw_endless(const Region& region) {
  throw InvalidArgument({.argument = "Region::bytes", .value = region.bytes},
                        "region " + region.name + " of " + std::to_string(region.bytes) +
                            " bytes makes the tape too large for 64 bits");
}

/// Returns the digest extended by a word. It is computed from numbers, not from bytes in memory, so
/// that it is the same in either byte order.
std::uint64_t chained(std::uint64_t digest, std::uint64_t word) noexcept {
  digest = (digest ^ word) * 0x9e37'79b9'7f4a'7c15U;
  return digest ^ (digest >> 32U);
}

std::uint64_t digest_with(std::uint64_t before, const Region& region) noexcept {
  std::uint64_t digest = before;
  const auto include = [&digest](std::uint64_t word) { digest = chained(digest, word); };
  include(region.name.size());
  for (const char c : region.name) include(static_cast<unsigned char>(c));
  include(region.offset);
  include(region.bytes);
  include(region.alignment);
  include(static_cast<std::uint64_t>(region.dtype));
  include(region.shape.size());
  for (const std::uint64_t extent : region.shape) include(extent);
  include(region.live.begin);
  include(region.live.end);
  include(region.growth.bytes_per_token);
  include(region.growth.capacity);
  return digest;
}

}  // namespace

const char* to_string(RegionRole role) noexcept {
  constexpr std::array names = {"weight", "kv", "window", "recurrent", "decode", "prefill"};
  return names[static_cast<std::size_t>(role)];
}

void TapePlan::append(Region region) {
  check_region(region);
  const auto offset = checked_round_up(end_, region.alignment);
  if (!offset) throw_endless(region);
  region.offset = *offset;
  place(std::move(region));
}

void TapePlan::place(Region region) {
  check_region(region);
  if (region.offset % region.alignment != 0) {
    throw InvalidArgument(
        {.argument = "Region::offset", .value = region.offset},
        "the offset of region " + region.name + ", " + std::to_string(region.offset) +
            ", is not a multiple of its alignment, " + std::to_string(region.alignment));
  }
  // The extent is rounded up to a line later, so the line's end must fit, too.
  const auto end = checked_add(region.offset, region.bytes, kLine - 1);
  const auto payload = checked_add(payload_, region.bytes);
  if (!end || !payload) throw_endless(region);
  region.tape = kind_;
  region.index = static_cast<std::uint32_t>(regions_.size());
  region.plan_digest = digest_with(digest(), region);
  const auto [named, fresh] = by_name_.try_emplace(region.name, region.index);
  if (!fresh) {
    throw InvalidArgument({.argument = "Region::name"},
                          "the plan of the " + std::string(to_string(kind_)) +
                              " tape already has a region named " + region.name);
  }
  internal::OnFailure undo([&, at = named] { by_name_.erase(at); });
  regions_.push_back(std::move(region));
  undo.completed();
  end_ = std::max(end_, *end - (kLine - 1));
  payload_ = *payload;
}

const Region* TapePlan::find(std::string_view name) const noexcept {
  const auto named = by_name_.find(name);
  return named == by_name_.end() ? nullptr : &regions_[named->second];
}

const Region& TapePlan::at(std::string_view name) const {
  if (const Region* const region = find(name)) return *region;
  throw InvalidArgument({.argument = "name"},
                        "the plan of the " + std::string(to_string(kind_)) +
                            " tape has no region named " + std::string(name),
                        "see regions() for the names, or use find, which returns nullptr");
}

std::uint64_t TapePlan::digest() const noexcept {
  if (!regions_.empty()) return regions_.back().plan_digest;
  return chained(0, static_cast<std::uint64_t>(kind_) + 1);
}

const Region* TapePlan::find(const PartId& id) const noexcept {
  const auto at = std::ranges::find(regions_, id, &Region::id);
  return at == regions_.end() ? nullptr : &*at;
}

std::uint64_t TapePlan::payload(RegionRole role) const noexcept {
  std::uint64_t bytes = 0;  // Never exceeds payload_, which fits.
  for (const Region& region : regions_) {
    if (region.role == role) bytes += region.bytes;
  }
  return bytes;
}

std::uint64_t TapePlan::bytes() const noexcept { return round_up(end_, kLine); }

std::uint64_t TapePlan::alignment() const noexcept {
  std::uint64_t strictest = kLine;
  for (const Region& region : regions_) strictest = std::max(strictest, region.alignment);
  return strictest;
}

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

void throw_foreign_region(const TapePlan& plan, const Region& region, std::size_t element_bytes) {
  const std::string asked = to_string(plan.kind());
  if (region.plan_digest != 0 && region.tape != plan.kind()) {
    throw InvalidArgument({.argument = "region"},
                          "region " + region.name + " belongs to a " + to_string(region.tape) +
                              " tape, but was requested from a " + asked + " tape",
                          std::string("use ") + to_string(region.tape) + "_at for this region");
  }
  const std::span<const Region> own = plan.regions();
  if (region.index >= own.size() || own[region.index].plan_digest != region.plan_digest) {
    throw InvalidArgument({.argument = "region"},
                          "region " + region.name + " is not in the " + asked +
                              " plan that this layout was made from",
                          "take the region from plan() of the layout or of its device");
  }
  const DTypeTraits& type = traits(own[region.index].dtype);
  throw InvalidArgument({.argument = "T", .value = element_bytes, .limit = type.block_bytes},
                        "region " + region.name + " holds " + std::string(type.name) +
                            " in units of " + count_of(type.block_bytes, "byte") +
                            " and cannot be viewed as another type of " +
                            count_of(element_bytes, "byte"),
                        "request the matching type or std::byte");
}

void throw_misaligned_region(const Region& region, std::size_t alignment) {
  throw InvalidArgument({.argument = "region", .value = region.alignment, .limit = alignment},
                        "region " + region.name + " is not aligned to " +
                            std::to_string(alignment) + " bytes, as the requested type requires",
                        "read the file instead of mapping it, or request std::byte and copy");
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
