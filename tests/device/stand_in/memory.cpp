// SPDX-License-Identifier: Apache-2.0
// Addresses, pages, allocations and pinned memory.
#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "device/stand_in/state.hpp"

namespace tapedeck::tests::stand_in {
namespace {

void* map(std::size_t bytes, int protection) {
  void* const at =
      ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  return at;
}

bool overlaps(Address a, std::size_t a_bytes, Address b, std::size_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

bool within(Address at, std::size_t bytes, Address outer, std::size_t outer_bytes) {
  return at >= outer && bytes <= outer_bytes && at - outer <= outer_bytes - bytes;
}

bool whole(std::size_t bytes) { return bytes != 0 && bytes % state().settings.granularity == 0; }

// Returns the last entry that begins at or before the address.
template <class Map>
auto entry_of(Map& map, Address at) {
  auto next = map.upper_bound(at);
  return next == map.begin() ? map.end() : std::prev(next);
}

// A copy may span several adjacent mappings.
Resolved resolve_mapped(Address at, std::size_t bytes) {
  Resolved resolved{.on_device = true};
  while (bytes != 0) {
    const auto found = entry_of(state().mappings, at);
    if (found == state().mappings.end() || at - found->first >= found->second.bytes) {
      return {.error = hex(at) + " is reserved and not mapped", .on_device = true};
    }
    const Mapping& mapping = found->second;
    if (!mapping.accessible) return {.error = hex(at) + " allows no access", .on_device = true};
    const std::size_t skipped = at - found->first;
    const std::size_t part = std::min(bytes, mapping.bytes - skipped);
    resolved.pieces.push_back({mapping.memory->data() + skipped, part, mapping.memory});
    at += part;
    bytes -= part;
  }
  return resolved;
}

bool inside_reservation(Address at, std::size_t bytes) {
  const auto found = entry_of(state().reservations, at);
  return found != state().reservations.end() &&
         within(at, bytes, found->first, found->second.bytes());
}

std::size_t free_of(int device) {
  const Settings& settings = state().settings;
  return settings.memory - settings.overhead -
         state().devices[static_cast<std::size_t>(device)].used;
}

bool room_for(int device, std::size_t bytes) { return bytes <= free_of(device); }

std::shared_ptr<Memory> make_memory(int device, std::size_t bytes) {
  return std::make_shared<Memory>(device, bytes,
                                  state().devices[static_cast<std::size_t>(device)].used,
                                  state().settings.host_visible);
}

CUresult check_place(const Call& call, Address at, std::size_t bytes, const Memory& memory) {
  if (at % state().settings.granularity != 0 || !whole(bytes))
    return call.violation("not whole pages");
  if (bytes > memory.bytes()) return call.violation("more than the size of the pages");
  if (!inside_reservation(at, bytes)) return call.violation("outside of a reservation");
  for (const auto& [begin, mapping] : state().mappings) {
    if (overlaps(at, bytes, begin, mapping.bytes)) {
      return call.violation("the range contains a mapping");
    }
  }
  return CUDA_SUCCESS;
}

// Returns all mappings of the range, which must consist of whole mappings without gaps. Otherwise
// reports the violation and returns none.
std::vector<Mapping*> whole_mappings(const Call& call, Address at, std::size_t bytes) {
  std::vector<Mapping*> all;
  Address next = at;
  while (next - at < bytes) {
    const auto found = state().mappings.find(next);
    if (found == state().mappings.end() || next - at + found->second.bytes > bytes) {
      call.violation(hex(at) + ", " + std::to_string(bytes) +
                     " bytes, does not consist of whole mappings");
      return {};
    }
    all.push_back(&found->second);
    next += found->second.bytes;
  }
  return all;
}

// Returns null after reporting a violation if the range is not exactly what one call mapped.
Mapping* exact_mapping(const Call& call, Address at, std::size_t bytes) {
  const auto found = state().mappings.find(at);
  if (found != state().mappings.end() && found->second.bytes == bytes) return &found->second;
  call.violation(hex(at) + ", " + std::to_string(bytes) + " bytes, was not mapped by one call");
  return nullptr;
}

}  // namespace

// Reserves one more granularity than requested, for alignment.
AddressRange::AddressRange(std::size_t bytes)
    : raw_(map(bytes + kGranularity, PROT_NONE)),
      begin_((reinterpret_cast<Address>(raw_) + kGranularity - 1) / kGranularity * kGranularity),
      bytes_(bytes) {}
AddressRange::AddressRange(AddressRange&& other) noexcept
    : raw_(std::exchange(other.raw_, nullptr)), begin_(other.begin_), bytes_(other.bytes_) {}
AddressRange::~AddressRange() {
  if (raw_ != nullptr) ::munmap(raw_, bytes_ + kGranularity);
}

Memory::Memory(int device, std::size_t bytes, std::atomic<std::size_t>& used, bool visible)
    : device_(device),
      bytes_(bytes),
      file_(visible ? ::memfd_create("stand-in", MFD_CLOEXEC) : -1),
      used_(used) {
  if (file_ < 0) {
    data_ = static_cast<std::byte*>(map(bytes, PROT_READ | PROT_WRITE));
  } else {
    if (::ftruncate(file_, static_cast<off_t>(bytes)) != 0) throw std::bad_alloc();
    void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(at);
  }
  used_ += bytes_;
}
Memory::~Memory() {
  ::munmap(data_, bytes_);
  if (file_ >= 0) ::close(file_);
  used_ -= bytes_;
}

void Memory::show_at(Address at) const {
  if (file_ < 0) return;
  void* const shown = ::mmap(reinterpret_cast<void*>(at), bytes_, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_FIXED, file_, 0);
  if (shown == MAP_FAILED) throw std::bad_alloc();
}

void Memory::hide(Address at, std::size_t bytes) {
  if (!state().settings.host_visible) return;
  void* const hidden = ::mmap(reinterpret_cast<void*>(at), bytes, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (hidden == MAP_FAILED) throw std::bad_alloc();
}

Resolved resolve(Address at, std::size_t bytes) {
  const auto reserved = entry_of(state().reservations, at);
  if (reserved != state().reservations.end() && at - reserved->first < reserved->second.bytes()) {
    return resolve_mapped(at, bytes);
  }
  const auto allocated = entry_of(state().allocations, at);
  if (allocated != state().allocations.end() &&
      at - allocated->first < allocated->second.second.bytes) {
    const Mapping& mapping = allocated->second.second;
    if (!within(at, bytes, allocated->first, mapping.bytes)) {
      return {.error = hex(at) + " extends past the end of its allocation", .on_device = true};
    }
    const Piece all = {mapping.memory->data() + (at - allocated->first), bytes, mapping.memory};
    return {.pieces = {all}, .on_device = true};
  }
  for (const AddressRange& freed : state().freed) {
    if (overlaps(at, bytes, freed.begin(), freed.bytes())) {
      return {.error = hex(at) + " was freed", .on_device = true};
    }
  }
  if (at == 0) return {.error = "the address is null"};
  return {.pieces = {{reinterpret_cast<std::byte*>(at), bytes, nullptr}}};
}

bool in_use(Address at, std::size_t bytes) {
  for (const auto& [handle, stream] : state().streams) {
    for (const Task& task : stream->tasks) {
      if (task.bytes == 0) continue;
      if (overlaps(at, bytes, task.to, task.bytes)) return true;
      const bool reads = task.kind == Task::Kind::copy;
      if (reads && overlaps(at, bytes, task.from, task.bytes)) return true;
    }
  }
  return false;
}

}  // namespace tapedeck::tests::stand_in

using namespace tapedeck::tests::stand_in;

CUresult CUDAAPI cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  STAND_IN_FOR(Needs::context);
  *total = state().settings.memory;
  *free = free_of(call.device());
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemGetAllocationGranularity(std::size_t* granularity,
                                               const CUmemAllocationProp* property,
                                               CUmemAllocationGranularity_flags /*option*/) {
  STAND_IN_FOR(Needs::context);
  if (property->type != CU_MEM_ALLOCATION_TYPE_PINNED)
    return call.violation("unsupported type of memory");
  *granularity = state().settings.granularity;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAddressReserve(CUdeviceptr* at, std::size_t bytes, std::size_t alignment,
                                     CUdeviceptr hint, unsigned long long flags) {
  STAND_IN_FOR(Needs::context);
  if (alignment != 0 || hint != 0 || flags != 0) return call.violation("alignment, hint or flags");
  if (!whole(bytes)) return call.violation("not whole pages");
  try {
    AddressRange range(bytes);
    *at = range.begin();
    state().reservations.emplace(*at, std::move(range));
    return CUDA_SUCCESS;
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

CUresult CUDAAPI cuMemAddressFree(CUdeviceptr at, std::size_t bytes) {
  STAND_IN_FOR(Needs::context);
  const auto found = state().reservations.find(at);
  if (found == state().reservations.end() || found->second.bytes() != bytes) {
    return call.violation(hex(at) + " was not reserved");
  }
  for (const auto& [begin, mapping] : state().mappings) {
    if (within(begin, mapping.bytes, at, bytes)) {
      return call.violation("the range contains a mapping", CUDA_ERROR_INVALID_VALUE);
    }
  }
  state().freed.push_back(std::move(found->second));
  state().reservations.erase(found);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemCreate(CUmemGenericAllocationHandle* handle, std::size_t bytes,
                             const CUmemAllocationProp* property, unsigned long long flags) {
  STAND_IN_FOR(Needs::context);
  if (flags != 0 || !whole(bytes)) return call.violation("not whole pages, or flags");
  if (property->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
      property->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
      property->location.id != call.device()) {
    return call.violation("the pages are not the current device's");
  }
  if (!room_for(call.device(), bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = ++state().last_handle;
  state().pages.emplace(*handle, make_memory(call.device(), bytes));
  return CUDA_SUCCESS;
}

// Pages that are mapped exist until they are unmapped.
CUresult CUDAAPI cuMemRelease(CUmemGenericAllocationHandle handle) {
  STAND_IN_FOR(Needs::context);
  if (state().pages.erase(handle) == 0) return call.violation("no such pages");
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemMap(CUdeviceptr at, std::size_t bytes, std::size_t offset,
                          CUmemGenericAllocationHandle handle, unsigned long long flags) {
  STAND_IN_FOR(Needs::context);
  if (offset != 0 || flags != 0) return call.violation("offset or flags");
  const auto pages = state().pages.find(handle);
  if (pages == state().pages.end()) return call.violation("no such pages");
  const CUresult place = check_place(call, at, bytes, *pages->second);
  if (place != CUDA_SUCCESS) return place;
  state().mappings.emplace(at, Mapping{bytes, pages->second, false});
  pages->second->show_at(at);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemUnmap(CUdeviceptr at, std::size_t bytes) {
  STAND_IN_FOR(Needs::context);
  if (exact_mapping(call, at, bytes) == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (in_use(at, bytes)) call.violation("something on a stream still uses it");
  Memory::hide(at, bytes);
  state().mappings.erase(at);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemSetAccess(CUdeviceptr at, std::size_t bytes, const CUmemAccessDesc* access,
                                std::size_t count) {
  STAND_IN_FOR(Needs::context);
  const std::vector<Mapping*> mappings = whole_mappings(call, at, bytes);
  if (mappings.empty()) return CUDA_ERROR_INVALID_VALUE;
  if (count != 1 || access->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
      access->location.id != call.device()) {
    return call.violation("access by a device that is not current");
  }
  for (Mapping* const mapping : mappings) {
    mapping->accessible = access->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  }
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc_v2(CUdeviceptr* at, std::size_t bytes) {
  STAND_IN_FOR(Needs::context);
  if (bytes == 0) return call.violation("the size is 0");
  if (!room_for(call.device(), bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  // No better aligned than CUDA guarantees, unless the host must see a page of it.
  const std::size_t lead = state().settings.host_visible ? 0 : kAllocationAlignment;
  AddressRange range(bytes + lead);
  *at = range.begin() + lead;
  const std::shared_ptr<Memory> memory = make_memory(call.device(), bytes);
  memory->show_at(*at);
  state().allocations.emplace(*at, std::pair(std::move(range), Mapping{bytes, memory, true}));
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemFree_v2(CUdeviceptr at) {
  STAND_IN_FOR(Needs::context);
  const auto found = state().allocations.find(at);
  if (found == state().allocations.end()) return call.violation(hex(at) + " is not allocated");
  if (in_use(at, found->second.second.bytes)) call.violation("something on a stream still uses it");
  Memory::hide(at, found->second.second.bytes);
  state().freed.push_back(std::move(found->second.first));
  state().allocations.erase(found);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostAlloc(void** at, std::size_t bytes, unsigned int /*flags*/) {
  STAND_IN_FOR(Needs::context);
  if (bytes == 0) return call.violation("the size is 0");
  auto memory = std::make_unique<std::byte[]>(bytes);
  *at = memory.get();
  state().pinned.emplace(*at, std::pair(std::move(memory), bytes));
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemFreeHost(void* at) {
  STAND_IN_FOR(Needs::context);
  const auto found = state().pinned.find(at);
  if (found == state().pinned.end()) return call.violation("the memory was not allocated");
  if (in_use(reinterpret_cast<Address>(at), found->second.second)) {
    call.violation("something on a stream still uses it");
  }
  state().pinned.erase(found);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostRegister_v2(void* at, std::size_t bytes, unsigned int flags) {
  STAND_IN_FOR(Needs::context);
  if (at == nullptr || bytes == 0) return call.violation("the size is 0");
  constexpr unsigned kKnown = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_READ_ONLY;
  if ((flags & ~kKnown) != 0) {
    return call.violation("unknown flags");
  }
  for (const auto& [begin, length] : state().registered) {
    if (overlaps(reinterpret_cast<Address>(at), bytes, reinterpret_cast<Address>(begin), length)) {
      return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    }
  }
  state().registered.emplace(at, bytes);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostUnregister(void* at) {
  STAND_IN_FOR(Needs::context);
  const auto found = state().registered.find(at);
  if (found == state().registered.end()) {
    return call.violation("the memory was not registered", CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  }
  if (in_use(reinterpret_cast<Address>(at), found->second)) {
    call.violation("something on a stream still uses it");
  }
  state().registered.erase(found);
  return CUDA_SUCCESS;
}
