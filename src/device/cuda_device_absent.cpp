// SPDX-License-Identifier: Apache-2.0
// Implements the CUDA classes in a build without the CUDA toolkit: constructors and launches throw.

#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/cuda_launch.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

constexpr const char* kWhy = "this build of Tapedeck does not support CUDA";
constexpr const char* kAdvice =
    "install the CUDA toolkit's headers and build Tapedeck with TAPEDECK_CUDA";

[[noreturn]] void absent() { throw DeviceUnavailable("CUDA", kWhy, kAdvice); }

}  // namespace

struct CudaDevice::State {};

CudaSupport CudaDevice::support() { return {.why = std::string(kWhy) + "; " + kAdvice}; }

CudaDevice::CudaDevice(unsigned /*ordinal*/) : Device({}) { absent(); }
CudaDevice::~CudaDevice() = default;

// These are never called, since no object can be constructed.
DeviceMemory CudaDevice::memory() const { absent(); }
std::byte* CudaDevice::reserve(std::size_t) { absent(); }
void CudaDevice::unreserve(std::byte*, std::size_t) noexcept {}
PageHandle CudaDevice::create_pages(std::size_t) { absent(); }
void CudaDevice::destroy_pages(PageHandle) noexcept {}
void CudaDevice::map_run(std::byte*, std::span<const PageHandle>, std::size_t) { absent(); }
bool CudaDevice::unmap(std::byte*, std::size_t) noexcept { return true; }
std::byte* CudaDevice::allocate(std::size_t) { absent(); }
void CudaDevice::deallocate(std::byte*) noexcept {}
std::byte* CudaDevice::allocate_pinned(std::size_t) { absent(); }
void CudaDevice::deallocate_pinned(std::byte*) noexcept {}
void CudaDevice::pin(std::span<std::byte>) { absent(); }
void CudaDevice::pin_read_only(std::span<const std::byte>) { absent(); }
void CudaDevice::unpin(const std::byte*) noexcept {}
StreamHandle CudaDevice::create_stream() { absent(); }
void CudaDevice::destroy_stream(StreamHandle) noexcept {}
void CudaDevice::synchronize(StreamHandle) { absent(); }
void CudaDevice::synchronize() { absent(); }
EventHandle CudaDevice::create_event() { absent(); }
void CudaDevice::destroy_event(EventHandle) noexcept {}
void CudaDevice::record(EventHandle, StreamHandle) { absent(); }
void CudaDevice::wait(StreamHandle, EventHandle) { absent(); }
bool CudaDevice::fired(EventHandle) { absent(); }
void CudaDevice::synchronize_event(EventHandle) { absent(); }
void CudaDevice::copy(std::byte*, const std::byte*, std::size_t, StreamHandle) { absent(); }
void CudaDevice::fill(std::byte*, std::byte, std::size_t, StreamHandle) { absent(); }

CurrentDevice::CurrentDevice(const Device& device)
    : device_(static_cast<const CudaDevice&>(device)) {
  absent();
}
CurrentDevice::~CurrentDevice() { static_cast<void>(device_); }
int CurrentDevice::handle() const noexcept { return static_cast<int>(device_.info().ordinal); }

KernelModule::KernelModule(const void* /*image*/) { absent(); }
KernelModule::~KernelModule() { module_ = nullptr; }
CUfunc_st* KernelModule::function(const char* /*name*/) const { absent(); }

CudaGraph::~CudaGraph() { exec_ = nullptr; }
void CudaGraph::launch(StreamHandle /*stream*/) const { absent(); }
CudaGraph CudaGraph::capture(StreamHandle /*stream*/, const std::function<void()>& /*body*/) {
  absent();
}

}  // namespace tapedeck::inline TAPEDECK_ABI

namespace tapedeck::internal::inline TAPEDECK_ABI {

void launch_kernel(CUfunc_st* /*function*/, Grid /*grid*/, StreamHandle /*stream*/,
                   void** /*arguments*/) {
  absent();
}

}  // namespace tapedeck::internal::inline TAPEDECK_ABI
