// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/device_block.hpp"

#include <span>
#include <utility>
#include <vector>

#include "base/on_failure.hpp"
#include "memory/announced_ranges.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct DeviceBlock::State {
  State(Device& on, PagePool* pages_from, DeviceBlockOptions block_options)
      : device(on), pool(pages_from), options(std::move(block_options)) {}
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void map_pages(std::size_t more);
  void unmap_from(std::size_t keep_pages) noexcept;
  [[nodiscard]] std::size_t page_bytes() const noexcept {
    return pool != nullptr ? pool->page_bytes() : 0;
  }
  [[nodiscard]] std::size_t mapped() const noexcept { return pages.size() * page_bytes(); }

  Device& device;
  PagePool* pool;  // nullptr if the block does not grow
  DeviceBlockOptions options;
  bool owns_addresses = false;
  std::byte* data = nullptr;
  std::size_t size = 0;
  std::size_t committed = 0;
  std::vector<PageHandle> pages;  // mapped, from the start
  internal::AnnouncedRanges announced;
};

namespace {

void require_memory(bool has_memory, const std::string& what) {
  if (has_memory) return;
  throw WrongState("device block", ObjectState::empty,
                   "a device block without memory cannot " + what +
                       ", because it was moved from or never reserved",
                   "create it with DeviceBlock::reserve, or use the block that it was moved to");
}

// Pages are created one by one, which for more bytes than a device has would take minutes to fail.
void require_possible(const Device& device, std::size_t bytes) {
  if (bytes <= device.info().total) return;
  DeviceError::throw_refusal({.device = device.label(),
                              .call = "commit",
                              .number = DeviceError::kOutOfMemory,
                              .name = "CUDA_ERROR_OUT_OF_MEMORY",
                              .bytes = bytes},
                             "all of its memory is " + to_iec(device.info().total));
}

}  // namespace

DeviceBlock::DeviceBlock() noexcept = default;
DeviceBlock::DeviceBlock(DeviceBlock&&) noexcept = default;
DeviceBlock& DeviceBlock::operator=(DeviceBlock&&) noexcept = default;
DeviceBlock::~DeviceBlock() = default;
DeviceBlock::DeviceBlock(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}

DeviceBlock::State::~State() {
  announced.remove_from(options, data);
  unmap_from(0);
  // Pages that the driver refused to unmap go back, too: these addresses are never used again.
  for (const PageHandle page : pages) pool->give(page);
  if (!owns_addresses) return;
  if (pool != nullptr) {
    device.unreserve(data, size);
  } else {
    device.deallocate(data);
  }
}

void DeviceBlock::State::map_pages(std::size_t more) {
  const std::size_t before = pages.size();
  pages.reserve(before + more);
  internal::OnFailure give_back([&] {
    for (; pages.size() > before; pages.pop_back()) pool->give(pages.back());
  });
  while (pages.size() < before + more) pages.push_back(pool->take());
  device.map_run(data + before * page_bytes(), std::span(pages).subspan(before), page_bytes());
  give_back.completed();
}

void DeviceBlock::State::unmap_from(std::size_t keep_pages) noexcept {
  while (pages.size() > keep_pages) {
    // Pages that the driver refuses to unmap stay usable.
    if (!device.unmap(data + mapped() - page_bytes(), page_bytes())) return;
    pool->give(pages.back());
    pages.pop_back();
  }
}

DeviceBlock DeviceBlock::reserve(PagePool& pool, std::size_t bytes, DeviceBlockOptions options) {
  const auto rounded = checked_round_up(bytes, pool.page_bytes());
  if (bytes == 0 || !rounded) {
    throw InvalidArgument({.argument = "bytes", .value = bytes},
                          pool.device().label() + " cannot reserve a block of " + to_iec(bytes),
                          "request at least 1 byte, and fewer than the address space has");
  }
  auto state = std::make_unique<State>(pool.device(), &pool, std::move(options));
  state->data = pool.device().reserve(*rounded);
  state->size = *rounded;
  state->owns_addresses = true;
  return DeviceBlock(std::move(state));
}

DeviceBlock DeviceBlock::allocate(Device& device, std::size_t bytes, DeviceBlockOptions options) {
  if (bytes == 0) {
    throw InvalidArgument({.argument = "bytes", .value = 0, .limit = 1},
                          device.label() + " cannot allocate a block of 0 bytes",
                          "request at least 1");
  }
  auto state = std::make_unique<State>(device, nullptr, std::move(options));
  state->data = device.allocate(bytes);
  state->owns_addresses = true;
  state->size = state->committed = bytes;
  state->announced.add(state->options, {state->data, bytes});
  return DeviceBlock(std::move(state));
}

DeviceBlock DeviceBlock::borrow(Device& device, std::span<std::byte> memory) {
  auto state = std::make_unique<State>(device, nullptr, DeviceBlockOptions{});
  state->data = memory.data();
  state->size = state->committed = memory.size();
  return DeviceBlock(std::move(state));
}

DeviceBlock DeviceBlock::part(std::size_t offset, std::size_t bytes) {
  require_memory(state_ != nullptr, "have parts");
  if (page_bytes() == 0 || offset > size() || bytes > size() - offset ||
      offset % page_bytes() != 0 || bytes % page_bytes() != 0) {
    throw InvalidArgument({.argument = "offset", .value = offset},
                          "a device block of " + to_iec(size()) + " cannot have a part of " +
                              to_iec(bytes) + " at " + to_iec(offset),
                          "use whole pages of a block that grows");
  }
  auto state = std::make_unique<State>(state_->device, state_->pool, state_->options);
  state->data = state_->data + offset;
  state->size = bytes;
  return DeviceBlock(std::move(state));
}

std::byte* DeviceBlock::data() const noexcept { return state_ ? state_->data : nullptr; }
std::size_t DeviceBlock::size() const noexcept { return state_ ? state_->size : 0; }
std::size_t DeviceBlock::committed() const noexcept { return state_ ? state_->committed : 0; }
std::size_t DeviceBlock::page_bytes() const noexcept { return state_ ? state_->page_bytes() : 0; }

void DeviceBlock::commit(std::size_t bytes) {
  if (bytes <= committed()) return;
  if (bytes > size()) {
    require_memory(state_ != nullptr, "commit " + to_iec(bytes));
    throw InvalidArgument({.argument = "bytes", .value = bytes, .limit = size()},
                          "a device block of " + to_iec(size()) + " cannot commit " + to_iec(bytes),
                          "reserve a larger block");
  }
  State& s = *state_;
  require_possible(s.device, bytes);
  const std::size_t before = s.pages.size();
  internal::OnFailure undo([&] { s.unmap_from(before); });
  s.map_pages((round_up(bytes, s.page_bytes()) - s.mapped()) / s.page_bytes());
  s.announced.add(s.options, {s.data + s.committed, s.mapped() - s.committed});
  undo.completed();
  s.committed = s.mapped();
}

std::size_t DeviceBlock::decommit(std::size_t keep, EventHandle after) {
  if (page_bytes() == 0 || keep >= committed()) return 0;
  State& s = *state_;
  const std::size_t kept = round_up(keep, s.page_bytes());
  if (kept >= s.mapped()) return 0;
  if (after != nullptr) s.device.synchronize_event(after);
  const std::size_t before = s.committed;
  s.announced.remove_from(s.options, s.data + kept);
  s.unmap_from(kept / s.page_bytes());
  s.committed = s.mapped();
  return before - s.committed;
}

}  // namespace tapedeck::inline TAPEDECK_ABI
