#include "tapedeck/plan/region.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN
namespace {

constexpr std::uint64_t kHostLine = 64;

void check(const Region& region) {
  if (region.name.empty()) throw InvalidArgument("a region without a name");
  if (!std::has_single_bit(region.alignment)) {
    throw InvalidArgument("region " + region.name + ": alignment " +
                          std::to_string(region.alignment) + " is no power of two");
  }
  const auto filled = checked_mul(region.growth.bytes_per_token, region.growth.capacity);
  if (!filled || *filled > region.bytes) {
    throw InvalidArgument("region " + region.name + " of " + std::to_string(region.bytes) +
                          " bytes grows beyond its end");
  }
}

[[noreturn]] void refuse_end(const Region& region) {
  throw InvalidArgument("region " + region.name + " of " + std::to_string(region.bytes) +
                        " bytes ends beyond 64 bits");
}

}  // namespace

const char* to_string(RegionRole role) noexcept {
  switch (role) {
    case RegionRole::weight:
      return "weight";
    case RegionRole::kv:
      return "kv";
    case RegionRole::window:
      return "window";
    case RegionRole::recurrent:
      return "recurrent";
    case RegionRole::decode:
      return "decode";
    case RegionRole::prefill:
      return "prefill";
  }
  return "unknown";
}

void TapePlan::append(Region region) {
  check(region);
  const auto offset = checked_round_up(end_, region.alignment);
  if (!offset) refuse_end(region);
  region.offset = *offset;
  place(std::move(region));
}

void TapePlan::place(Region region) {
  check(region);
  if (region.offset % region.alignment != 0) {
    throw InvalidArgument("region " + region.name + ": offset " + std::to_string(region.offset) +
                          " is no multiple of its alignment " + std::to_string(region.alignment));
  }
  // The extent is rounded up to a line later, so the line's end has to fit as well.
  const auto end = checked_add(region.offset, region.bytes, kHostLine - 1);
  const auto payload = checked_add(payload_, region.bytes);
  if (!end || !payload) refuse_end(region);
  regions_.push_back(std::move(region));
  end_ = std::max(end_, *end - (kHostLine - 1));
  payload_ = *payload;
}

const Region* TapePlan::find(std::string_view name) const noexcept {
  const auto at = std::find_if(regions_.begin(), regions_.end(),
                               [&](const Region& region) { return region.name == name; });
  return at == regions_.end() ? nullptr : &*at;
}

std::uint64_t TapePlan::payload(RegionRole role) const noexcept {
  std::uint64_t bytes = 0;  // no more than payload_, which fits
  for (const Region& region : regions_) {
    if (region.role == role) bytes += region.bytes;
  }
  return bytes;
}

std::uint64_t TapePlan::bytes() const noexcept { return round_up(end_, kHostLine); }

std::uint64_t TapePlan::alignment() const noexcept {
  std::uint64_t strictest = kHostLine;
  for (const Region& region : regions_) strictest = std::max(strictest, region.alignment);
  return strictest;
}

TAPEDECK_ABI_END
}  // namespace tapedeck
