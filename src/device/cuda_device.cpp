// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/device/cuda_device.hpp"

#include <array>
#include <string>
#include <type_traits>
#include <utility>

#include "base/on_failure.hpp"
#include "device/cuda_driver.hpp"
#include "os/resident_ledger.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

CUdeviceptr address_of(const void* at) noexcept { return reinterpret_cast<CUdeviceptr>(at); }
std::byte* to_pointer(CUdeviceptr at) noexcept { return reinterpret_cast<std::byte*>(at); }

const CudaDevice& cuda_device(const Device& device) {
  if (const auto* const cuda = dynamic_cast<const CudaDevice*>(&device)) return *cuda;
  throw InvalidArgument({.argument = "device"}, "this device is not a CudaDevice");
}

void require_ordinal(unsigned ordinal) {
  const unsigned devices = internal::count_devices();
  if (ordinal < devices) return;
  const std::string wanted = "CUDA device " + std::to_string(ordinal);
  throw DeviceUnavailable(
      wanted, "there is no " + wanted + ": the number of devices is " + std::to_string(devices),
      {});
}

}  // namespace

struct CudaDevice::State {
  explicit State(unsigned ordinal);
  ~State() { cuda.primary_release(device); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /// Makes the context current. @throws DeviceError
  void push() const { ask(cuda.ctx_push_current, context); }
  /// Restores the context that was current before.
  void pop() const noexcept {
    CUcontext popped = nullptr;
    cuda.ctx_pop_current(&popped);
  }
  struct Pushed {
    const State& state;
    ~Pushed() { state.pop(); }
  };

  /// Calls an entry point that needs no context. @throws DeviceError
  template <class... Parameters>
  void ask(const internal::EntryPoint<Parameters...>& entry,
           std::type_identity_t<Parameters>... arguments) const {
    require_success(entry(arguments...), entry.name(), 0);
  }

  /// Calls an entry point with the context current. @throws DeviceError
  template <class... Parameters>
  void call(const internal::EntryPoint<Parameters...>& entry, std::size_t bytes,
            std::type_identity_t<Parameters>... arguments) const {
    push();
    const Pushed pushed{*this};
    require_success(entry(arguments...), entry.name(), bytes);
  }

  /// Like `call`, for an entry point that creates something. Returns what the entry point stores
  /// through its first parameter. @throws DeviceError
  template <class Made, class... Parameters>
  [[nodiscard]] Made make(const internal::EntryPoint<Made*, Parameters...>& entry,
                          std::size_t bytes, std::type_identity_t<Parameters>... arguments) const {
    Made made{};
    call(entry, bytes, &made, arguments...);
    return made;
  }

  /// Like `call`, for an entry point that releases something. Returns false if it fails.
  template <class... Parameters>
  bool quietly(const internal::EntryPoint<Parameters...>& entry,
               std::type_identity_t<Parameters>... arguments) const noexcept {
    if (cuda.ctx_push_current(context) != CUDA_SUCCESS) return false;
    const Pushed pushed{*this};
    return entry(arguments...) == CUDA_SUCCESS;
  }

  void require_success(CUresult result, const char* call, std::size_t bytes) const {
    if (result == CUDA_SUCCESS) return;
    internal::throw_cuda_error(info.name + " " + std::to_string(info.ordinal), result, call, bytes);
  }

  [[nodiscard]] int attribute(CUdevice_attribute which) const;
  void require_attribute(CUdevice_attribute which, const char* what) const;
  [[nodiscard]] CUmemLocation location() const noexcept;
  [[nodiscard]] CUmemAllocationProp own_memory() const noexcept;

  const internal::CudaDriver& cuda;
  DeviceInfo info;
  CUdevice device = 0;
  CUcontext context = nullptr;  // the primary one
};

CudaDevice::State::State(unsigned ordinal)
    : cuda(internal::started_cuda()),
      info{.kind = DeviceKind::cuda, .ordinal = ordinal, .name = "CUDA device"} {
  info.driver = internal::version_text(internal::cuda_version());
  require_ordinal(ordinal);
  ask(cuda.device_get, &device, static_cast<int>(ordinal));

  std::array<char, 256> name{};
  ask(cuda.device_get_name, name.data(), static_cast<int>(name.size()), device);
  info.name = name.data();
  require_attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
                    "virtual memory management");
  require_attribute(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, "unified addressing");
  info.compute_major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  info.compute_minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  info.integrated = attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED) != 0;
  ask(cuda.device_total_mem, &info.total, device);

  ask(cuda.primary_retain, &context, device);
  internal::OnFailure release([this] { cuda.primary_release(device); });
  const CUmemAllocationProp own = own_memory();
  call(cuda.mem_granularity, 0, &info.granularity, &own, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
  release.completed();
}

int CudaDevice::State::attribute(CUdevice_attribute which) const {
  int value = 0;
  ask(cuda.device_get_attribute, &value, which, device);
  return value;
}

void CudaDevice::State::require_attribute(CUdevice_attribute which, const char* what) const {
  if (attribute(which) != 0) return;
  throw DeviceUnavailable(
      what, info.name + " " + std::to_string(info.ordinal) + " does not support " + what, {});
}

CUmemLocation CudaDevice::State::location() const noexcept {
  CUmemLocation here{};
  here.type = CU_MEM_LOCATION_TYPE_DEVICE;
  here.id = device;
  return here;
}

CUmemAllocationProp CudaDevice::State::own_memory() const noexcept {
  CUmemAllocationProp own{};
  own.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  own.location = location();
  return own;
}

CudaSupport CudaDevice::support() {
  CudaSupport support;
  try {
    support.driver = internal::version_text(internal::cuda_version());
    internal::started_cuda();
    support.devices = internal::count_devices();
    if (support.devices == 0) support.why = "the CUDA driver reports no devices";
  } catch (const DeviceUnavailable& none) {
    support.why = none.what();
  }
  return support;
}

CudaDevice::CudaDevice(unsigned ordinal) : CudaDevice(std::make_unique<State>(ordinal)) {}
CudaDevice::CudaDevice(std::unique_ptr<State> state)
    : Device(state->info), state_(std::move(state)) {}
CudaDevice::~CudaDevice() = default;

DeviceMemory CudaDevice::memory() const {
  DeviceMemory memory;
  state_->call(state_->cuda.mem_get_info, 0, &memory.free, &memory.total);
  return memory;
}

std::byte* CudaDevice::reserve(std::size_t bytes) {
  return to_pointer(state_->make(state_->cuda.mem_address_reserve, bytes, bytes, 0, 0, 0));
}

void CudaDevice::unreserve(std::byte* at, std::size_t bytes) noexcept {
  state_->quietly(state_->cuda.mem_address_free, address_of(at), bytes);
}

PageHandle CudaDevice::create_pages(std::size_t bytes) {
  const CUmemAllocationProp own = state_->own_memory();
  return state_->make(state_->cuda.mem_create, bytes, bytes, &own, 0);
}

void CudaDevice::destroy_pages(PageHandle pages) noexcept {
  state_->quietly(state_->cuda.mem_release, pages);
}

void CudaDevice::map_run(std::byte* at, std::span<const PageHandle> pages, std::size_t bytes_each) {
  std::size_t mapped = 0;
  internal::OnFailure undo([&] {
    for (; mapped != 0; mapped -= bytes_each) unmap(at + mapped - bytes_each, bytes_each);
  });
  for (const PageHandle page : pages) {
    state_->call(state_->cuda.mem_map, bytes_each, address_of(at + mapped), bytes_each, 0, page, 0);
    mapped += bytes_each;
  }
  CUmemAccessDesc access{};
  access.location = state_->location();
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  state_->call(state_->cuda.mem_set_access, mapped, address_of(at), mapped, &access, 1);
  undo.completed();
}

bool CudaDevice::unmap(std::byte* at, std::size_t bytes) noexcept {
  return state_->quietly(state_->cuda.mem_unmap, address_of(at), bytes);
}

std::byte* CudaDevice::allocate(std::size_t bytes) {
  return to_pointer(state_->make(state_->cuda.mem_alloc, bytes, bytes));
}

void CudaDevice::deallocate(std::byte* at) noexcept {
  state_->quietly(state_->cuda.mem_free, address_of(at));
}

// Portable, so that contexts of other devices can copy from it at full speed, too.
std::byte* CudaDevice::allocate_pinned(std::size_t bytes) {
  internal::os::ResidentLedger::Filling filling;
  internal::os::require_room(filling.begin(bytes), bytes, "pinning host memory",
                             "pin less, or free some memory");
  return static_cast<std::byte*>(
      state_->make(state_->cuda.mem_host_alloc, bytes, bytes, CU_MEMHOSTALLOC_PORTABLE));
}

void CudaDevice::deallocate_pinned(std::byte* at) noexcept {
  state_->quietly(state_->cuda.mem_free_host, at);
}

void CudaDevice::pin(std::span<std::byte> memory) {
  state_->call(state_->cuda.mem_host_register, memory.size(), memory.data(), memory.size(),
               CU_MEMHOSTREGISTER_PORTABLE);
}

void CudaDevice::pin_read_only(std::span<const std::byte> memory) {
  // The driver has a single entry point for writable and read-only memory.
  auto* const at = const_cast<std::byte*>(memory.data());
  state_->call(state_->cuda.mem_host_register, memory.size(), at, memory.size(),
               CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_READ_ONLY);
}

void CudaDevice::unpin(const std::byte* at) noexcept {
  state_->quietly(state_->cuda.mem_host_unregister, const_cast<std::byte*>(at));
}

StreamHandle CudaDevice::create_stream() {
  return state_->make(state_->cuda.stream_create, 0, CU_STREAM_NON_BLOCKING);
}

void CudaDevice::destroy_stream(StreamHandle stream) noexcept {
  state_->quietly(state_->cuda.stream_destroy, stream);
}

void CudaDevice::synchronize(StreamHandle stream) {
  state_->call(state_->cuda.stream_synchronize, 0, stream);
}

void CudaDevice::synchronize() { state_->call(state_->cuda.ctx_synchronize, 0); }

EventHandle CudaDevice::create_event() {
  return state_->make(state_->cuda.event_create, 0, CU_EVENT_DISABLE_TIMING);
}

void CudaDevice::destroy_event(EventHandle event) noexcept {
  state_->quietly(state_->cuda.event_destroy, event);
}

void CudaDevice::record(EventHandle event, StreamHandle stream) {
  state_->call(state_->cuda.event_record, 0, event, stream);
}

void CudaDevice::wait(StreamHandle stream, EventHandle event) {
  state_->call(state_->cuda.stream_wait_event, 0, stream, event, 0);
}

bool CudaDevice::fired(EventHandle event) {
  const CurrentDevice current(*this);
  const CUresult result = state_->cuda.event_query(event);
  if (result == CUDA_ERROR_NOT_READY) return false;
  state_->require_success(result, state_->cuda.event_query.name(), 0);
  return true;
}

void CudaDevice::synchronize_event(EventHandle event) {
  state_->call(state_->cuda.event_synchronize, 0, event);
}

void CudaDevice::copy(std::byte* to, const std::byte* from, std::size_t bytes,
                      StreamHandle stream) {
  if (bytes == 0) return;
  state_->call(state_->cuda.memcpy_async, bytes, address_of(to), address_of(from), bytes, stream);
}

void CudaDevice::fill(std::byte* at, std::byte value, std::size_t bytes, StreamHandle stream) {
  if (bytes == 0) return;
  state_->call(state_->cuda.memset_d8_async, bytes, address_of(at),
               std::to_integer<unsigned char>(value), bytes, stream);
}

CurrentDevice::CurrentDevice(const Device& device) : device_(cuda_device(device)) {
  device_.state_->push();
}

CurrentDevice::~CurrentDevice() { device_.state_->pop(); }

int CurrentDevice::handle() const noexcept { return device_.state_->device; }

}  // namespace tapedeck::inline TAPEDECK_ABI
