// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/host_device.hpp"

#include <bit>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/amounts.hpp"
#include "base/on_failure.hpp"
#include "device/host_streams.hpp"
#include "os/limits.hpp"
#include "os/memory_file.hpp"
#include "os/resident_ledger.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace os = internal::os;
namespace {

using internal::HostEvent;
using internal::HostStream;
using internal::OwnedHostStream;

// Offsets of pages are never reused, which costs nothing: a memory file only has the pages in use.
constexpr std::size_t kFileBytes = std::size_t{1} << 46;
constexpr std::size_t kAllocationAlign = 256;  // the alignment of cuMemAlloc
constexpr std::size_t kPinnedAlign = 4096;
constexpr const char* kHostMemory = "host memory of a simulated device";

// The memory that the tightest limit of this host leaves.
std::size_t host_memory() {
  const auto tightest = os::tightest_of(os::memory_limits());
  if (tightest) return tightest->available;
  throw SystemError({.call = "read", .number = ENODATA, .path = "/proc/meminfo"},
                    "set HostDeviceOptions::memory");
}

DeviceInfo info_of(const HostDeviceOptions& options) {
  if (!std::has_single_bit(options.granularity) || options.granularity < os::page_size()) {
    throw InvalidArgument(
        {.argument = "HostDeviceOptions::granularity", .value = options.granularity},
        "a host device cannot map pages of " + internal::count_of(options.granularity, "byte"),
        "use a power of two that is at least the host's page size");
  }
  const std::size_t total = options.memory != 0 ? options.memory : host_memory();
  return {.kind = DeviceKind::host,
          .ordinal = options.ordinal,
          .name = "simulated device",
          .total = total,
          .granularity = options.granularity,
          .integrated = true};
}

}  // namespace

struct HostDevice::State {
  struct Pages {
    std::uint64_t offset = 0;
    std::size_t bytes = 0;
  };
  struct Allocation {
    std::shared_ptr<std::byte> memory;
    std::size_t counted = 0;  // bytes that count as device memory
  };

  mutable std::mutex mutex;
  std::size_t held = 0;  // bytes of pages and allocations
  os::Descriptor file;
  std::uint64_t file_end = 0;
  std::map<PageHandle, Pages> pages;
  PageHandle last_handle = 0;
  std::map<std::byte*, std::size_t> reservations;
  std::map<std::byte*, Allocation> allocations;  // including pinned memory
  OwnedHostStream default_stream{new HostStream};
  std::map<StreamHandle, OwnedHostStream> streams;
  std::vector<OwnedHostStream> closed;  // destroyed streams that may still run
  std::map<EventHandle, std::shared_ptr<HostEvent>> events;

  [[nodiscard]] HostStream& stream(StreamHandle handle) {
    const std::lock_guard lock(mutex);
    return handle == nullptr ? *default_stream : *streams.at(handle);
  }
  [[nodiscard]] std::shared_ptr<HostEvent> event(EventHandle handle) {
    const std::lock_guard lock(mutex);
    return events.at(handle);
  }
  /// @param counted  the bytes that count as device memory. @pre the mutex is held.
  [[nodiscard]] std::byte* allocate(std::size_t bytes, std::size_t align, std::size_t counted) {
    // The C++ library rounds the size up without a check.
    if (!checked_round_up(bytes, align)) {
      throw SystemError({.call = "malloc", .number = ENOMEM, .bytes = bytes});
    }
    const std::align_val_t aligned{align};
    auto* const at = static_cast<std::byte*>(::operator new(bytes, aligned, std::nothrow));
    if (at == nullptr) {
      os::require_mapping_room(ENOMEM, bytes, "allocating memory of a host device");
      throw SystemError(
          {.call = "malloc", .number = ENOMEM, .bytes = bytes, .object = kHostMemory});
    }
    std::shared_ptr<std::byte> memory(
        at, [aligned](std::byte* gone) { ::operator delete(gone, aligned); });
    allocations.emplace(at, Allocation{.memory = std::move(memory), .counted = counted});
    held += counted;
    return at;
  }
};

namespace {

[[noreturn]] void throw_as_driver(const Device& device, const char* call, int number,
                                  std::size_t bytes, std::string advice) {
  const char* const name =
      number == DeviceError::kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_INVALID_VALUE";
  DeviceError::throw_refusal(
      {.device = device.label(), .call = call, .number = number, .name = name, .bytes = bytes},
      std::move(advice));
}

void require_bytes(const Device& device, const char* call, std::size_t bytes) {
  if (bytes != 0) return;
  throw_as_driver(device, call, DeviceError::kInvalidValue, 0, "request at least 1 byte");
}

void require_whole_pages(const Device& device, const char* call, std::size_t bytes) {
  const std::size_t granularity = device.info().granularity;
  if (bytes != 0 && bytes % granularity == 0) return;
  throw_as_driver(device, call, DeviceError::kInvalidValue, bytes,
                  "use whole pages of " + std::to_string(granularity) + " bytes");
}

void require_room(const Device& device, const char* call, std::size_t held, std::size_t bytes) {
  const std::size_t left = device.info().total - held;
  if (bytes <= left) return;
  throw_as_driver(device, call, DeviceError::kOutOfMemory, bytes,
                  "it has only " + internal::count_of(left, "byte") + " left");
}

void require_mapped(const os::Mapped& mapped, std::size_t bytes) {
  if (mapped.error == 0) return;
  throw SystemError(
      {.call = mapped.call, .number = mapped.error, .bytes = bytes, .object = kHostMemory});
}

}  // namespace

HostDevice::HostDevice(const HostDeviceOptions& options)
    : Device(info_of(options)), state_(std::make_unique<State>()) {
  os::Opened made = os::create_memory_file("tapedeck-device", kFileBytes, 0);
  if (made.error != 0) {
    throw SystemError({.call = made.call, .number = made.error, .object = kHostMemory});
  }
  state_->file = std::move(made.descriptor);
}

HostDevice::~HostDevice() = default;

DeviceMemory HostDevice::memory() const {
  const std::lock_guard lock(state_->mutex);
  return {.free = info().total - state_->held, .total = info().total};
}

std::byte* HostDevice::reserve(std::size_t bytes) {
  require_whole_pages(*this, "reserve", bytes);
  // The host's pages may be smaller than the granularity. Addresses before the first aligned one
  // and behind the end are unmapped again.
  const std::size_t granularity = info().granularity;
  const os::Mapped mapped = os::reserve(bytes + granularity);
  require_mapped(mapped, bytes);
  const auto first = reinterpret_cast<std::uintptr_t>(mapped.at);
  const std::size_t before = (granularity - first % granularity) % granularity;
  std::byte* const at = mapped.at + before;
  if (before != 0) static_cast<void>(os::unmap(mapped.at, before));
  static_cast<void>(os::unmap(at + bytes, granularity - before));
  const std::lock_guard lock(state_->mutex);
  state_->reservations.emplace(at, bytes);
  return at;
}

void HostDevice::unreserve(std::byte* at, std::size_t bytes) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->reservations.erase(at);
  static_cast<void>(os::unmap(at, bytes));
}

PageHandle HostDevice::create_pages(std::size_t bytes) {
  require_whole_pages(*this, "create_pages", bytes);
  const std::lock_guard lock(state_->mutex);
  require_room(*this, "create_pages", state_->held, bytes);
  const PageHandle handle = ++state_->last_handle;
  state_->pages.emplace(handle, State::Pages{.offset = state_->file_end, .bytes = bytes});
  state_->file_end += bytes;
  state_->held += bytes;
  return handle;
}

void HostDevice::destroy_pages(PageHandle pages) noexcept {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->pages.find(pages);
  if (found == state_->pages.end()) return;
  static_cast<void>(os::punch_hole(state_->file.get(), found->second.offset, found->second.bytes));
  state_->held -= found->second.bytes;
  state_->pages.erase(found);
}

void HostDevice::map_run(std::byte* at, std::span<const PageHandle> pages, std::size_t bytes_each) {
  const std::lock_guard lock(state_->mutex);
  std::byte* next = at;
  internal::OnFailure undo([&] {
    for (; next != at; next -= bytes_each) unmap(next - bytes_each, bytes_each);
  });
  for (const PageHandle page : pages) {
    map_page(next, page, bytes_each);
    next += bytes_each;
  }
  undo.completed();
}

// @pre the lock is held.
void HostDevice::map_page(std::byte* at, PageHandle pages, std::size_t bytes) {
  const auto found = state_->pages.find(pages);
  const auto behind = state_->reservations.upper_bound(at);
  const bool inside = behind != state_->reservations.begin() &&
                      at + bytes <= std::prev(behind)->first + std::prev(behind)->second;
  if (found == state_->pages.end() || found->second.bytes != bytes || !inside) {
    throw_as_driver(*this, "map", DeviceError::kInvalidValue, bytes,
                    "map all pages of a handle, inside a reservation");
  }
  const os::Mapped mapped =
      os::map_shared(state_->file.get(), bytes, os::Access::write, at, found->second.offset);
  require_mapped(mapped, bytes);
}

bool HostDevice::unmap(std::byte* at, std::size_t bytes) noexcept {
  return os::reserve_again(at, bytes) == 0;
}

std::byte* HostDevice::allocate(std::size_t bytes) {
  require_bytes(*this, "allocate", bytes);
  const std::lock_guard lock(state_->mutex);
  require_room(*this, "allocate", state_->held, bytes);
  // Only checked now, and not claimed for as long as it exists, since it may never be touched.
  os::ResidentLedger::Claim claim;
  os::require_room(claim.add(bytes), bytes, "allocating memory of " + label(),
                   "allocate less, or free some memory");
  return state_->allocate(bytes, kAllocationAlign, bytes);
}

void HostDevice::deallocate(std::byte* at) noexcept {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->allocations.find(at);
  if (found == state_->allocations.end()) return;
  state_->held -= found->second.counted;
  state_->allocations.erase(found);
}

// Pinned memory belongs to the host and does not count as device memory. It is resident at once, as
// a driver's is.
std::byte* HostDevice::allocate_pinned(std::size_t bytes) {
  require_bytes(*this, "allocate_pinned", bytes);
  os::ResidentLedger::Filling filling;
  os::require_room(filling.begin(bytes), bytes, "pinning host memory",
                   "pin less, or free some memory");
  const std::lock_guard lock(state_->mutex);
  std::byte* const at = state_->allocate(bytes, kPinnedAlign, 0);
  std::memset(at, 0, bytes);
  return at;
}

void HostDevice::deallocate_pinned(std::byte* at) noexcept { deallocate(at); }

// The host can copy from and to any memory, so pinning only checks its arguments.
void HostDevice::pin(std::span<std::byte> memory) { require_bytes(*this, "pin", memory.size()); }

void HostDevice::pin_read_only(std::span<const std::byte> memory) {
  require_bytes(*this, "pin", memory.size());
}

void HostDevice::unpin(const std::byte* /*at*/) noexcept {}

StreamHandle HostDevice::create_stream() {
  OwnedHostStream stream(new HostStream);
  auto* const handle = reinterpret_cast<StreamHandle>(stream.get());
  const std::lock_guard lock(state_->mutex);
  state_->streams.emplace(handle, std::move(stream));
  return handle;
}

void HostDevice::destroy_stream(StreamHandle stream) noexcept {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->streams.find(stream);
  if (found == state_->streams.end()) return;
  found->second->close();
  state_->closed.push_back(std::move(found->second));
  state_->streams.erase(found);
}

void HostDevice::synchronize(StreamHandle stream) { state_->stream(stream).synchronize(); }

void HostDevice::synchronize() {
  std::vector<HostStream*> all = {state_->default_stream.get()};
  {
    const std::lock_guard lock(state_->mutex);
    for (const auto& [handle, stream] : state_->streams) all.push_back(stream.get());
    for (const auto& stream : state_->closed) all.push_back(stream.get());
  }
  for (HostStream* stream : all) stream->synchronize();
}

EventHandle HostDevice::create_event() {
  auto event = std::make_shared<HostEvent>();
  auto* const handle = reinterpret_cast<EventHandle>(event.get());
  const std::lock_guard lock(state_->mutex);
  state_->events.emplace(handle, std::move(event));
  return handle;
}

void HostDevice::destroy_event(EventHandle event) noexcept {
  const std::lock_guard lock(state_->mutex);
  state_->events.erase(event);
}

void HostDevice::record(EventHandle event, StreamHandle stream) {
  std::shared_ptr<HostEvent> recorded = state_->event(event);
  const std::uint64_t moment = recorded->record();
  state_->stream(stream).put([recorded = std::move(recorded), moment] { recorded->fire(moment); });
}

void HostDevice::wait(StreamHandle stream, EventHandle event) {
  std::shared_ptr<HostEvent> awaited = state_->event(event);
  const std::uint64_t moment = awaited->recorded();
  state_->stream(stream).put([awaited = std::move(awaited), moment] { awaited->wait_for(moment); });
}

bool HostDevice::fired(EventHandle event) { return state_->event(event)->fired(); }

void HostDevice::synchronize_event(EventHandle event) {
  const std::shared_ptr<HostEvent> awaited = state_->event(event);
  awaited->wait_for(awaited->recorded());
}

void HostDevice::copy(std::byte* to, const std::byte* from, std::size_t bytes,
                      StreamHandle stream) {
  if (bytes == 0) return;
  state_->stream(stream).put([=] { std::memmove(to, from, bytes); });
}

void HostDevice::fill(std::byte* at, std::byte value, std::size_t bytes, StreamHandle stream) {
  if (bytes == 0) return;
  state_->stream(stream).put([=] { std::memset(at, std::to_integer<int>(value), bytes); });
}

}  // namespace tapedeck::inline TAPEDECK_ABI
