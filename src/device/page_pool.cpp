// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/page_pool.hpp"

#include <bit>
#include <cassert>
#include <string>

#include "base/amounts.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

PagePool::PagePool(Device& device, std::size_t page_bytes)
    : device_(device), page_bytes_(page_bytes != 0 ? page_bytes : device.info().granularity) {
  const std::size_t granularity = device.info().granularity;
  if (std::has_single_bit(page_bytes_) && page_bytes_ % granularity == 0) return;
  throw InvalidArgument(
      {.argument = "page_bytes", .value = page_bytes_, .limit = granularity},
      device.label() + " does not support pages of " + internal::count_of(page_bytes_, "byte"),
      "use a power of two, at least " + std::to_string(granularity) + " bytes");
}

PagePool::~PagePool() {
  assert(free_bytes() == held_bytes() && "blocks must be destroyed before their pool");
  trim();
}

PageHandle PagePool::take() {
  const std::lock_guard lock(mutex_);
  if (!free_.empty()) {
    const PageHandle page = free_.back();
    free_.pop_back();
    free_bytes_ -= page_bytes_;
    return page;
  }
  free_.reserve(held_bytes_ / page_bytes_ + 1);  // so that `give` never allocates
  const PageHandle page = device_.create_pages(page_bytes_);
  held_bytes_ += page_bytes_;
  return page;
}

void PagePool::give(PageHandle page) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(page);
  free_bytes_ += page_bytes_;
}

std::size_t PagePool::trim() noexcept {
  const std::lock_guard lock(mutex_);
  for (const PageHandle page : free_) device_.destroy_pages(page);
  free_.clear();
  const std::size_t released =
      free_bytes_.exchange(0);  // before held_bytes_: no reader sees more free than held
  held_bytes_ -= released;
  return released;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
