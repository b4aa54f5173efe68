// SPDX-License-Identifier: Apache-2.0
// Settings, faults and reports; the driver itself, its devices and contexts.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "device/stand_in/state.hpp"

namespace tapedeck::tests::stand_in {
namespace {

void make_devices(State& all) {
  all.devices.clear();
  for (int i = 0; i < all.settings.devices; ++i) all.devices.emplace_back().context.device = i;
}

CUctx_st* find_context(CUcontext wanted) {
  for (Device& device : state().devices) {
    if (&device.context == wanted) return &device.context;
  }
  return nullptr;
}

bool is_device(CUdevice device) { return device >= 0 && device < state().settings.devices; }

// Returns null if the call was wrong, and sets the error.
Device* device_of(const Call& call, CUdevice device, CUresult& error) {
  if (is_device(device)) return &state().devices[static_cast<std::size_t>(device)];
  error = call.violation("no device " + std::to_string(device), CUDA_ERROR_INVALID_DEVICE);
  return nullptr;
}

int attribute_of(CUdevice_attribute attribute) {
  const Settings& settings = state().settings;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
      return settings.virtual_memory ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
      return settings.unified_addressing ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return 9;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
      return settings.integrated ? 1 : 0;
    default:
      return 0;
  }
}

// Reports whatever is left when the last context ends.
void report_leaks(const Call& call) {
  const Live left = live_now();
  if (left.retains != 0 || left == Live{}) return;
  std::ostringstream text;
  text << "the context ends, and there are still " << left;
  call.violation(text.str());
}

}  // namespace

State::~State() {
  std::unique_lock lock(mutex);
  end_streams(lock);
}

State& state() {
  static State all;
  static const bool made = [] {
    make_devices(all);
    return true;
  }();
  static_cast<void>(made);
  return all;
}

std::vector<CUcontext>& current_contexts() {
  thread_local std::vector<CUcontext> contexts;
  return contexts;
}

Call::Call(const char* name, Needs needs) : name_(name), lock_(state().mutex), result_(counted()) {
  if (result_ != CUDA_SUCCESS || needs == Needs::nothing) return;
  if (!state().started) {
    result_ = violation("called before cuInit", CUDA_ERROR_NOT_INITIALIZED);
  } else if (needs == Needs::context && current_contexts().empty()) {
    result_ = violation("no context is current", CUDA_ERROR_INVALID_CONTEXT);
  }
}

CUresult Call::counted() const {
  ++state().calls;
  ++state().calls_by_name[name_];
  Fault& fault = state().fault;
  if (fault.calls_left == 0) return CUDA_SUCCESS;
  if (fault.calls_left > 1) {
    --fault.calls_left;
    return CUDA_SUCCESS;
  }
  if (!fault.and_after) fault.calls_left = 0;
  if (fault.victim.empty()) fault.victim = name_;
  return fault.error;
}

CUresult Call::violation(const std::string& what, CUresult error) const {
  state().violations.push_back(name_ + ": " + what);
  return error;
}

int Call::device() const { return current_contexts().back()->device; }

std::string hex(Address at) {
  std::ostringstream text;
  text << "0x" << std::hex << at;
  return text.str();
}

void reset(const Settings& settings) {
  State& all = state();
  std::unique_lock lock(all.mutex);
  end_streams(lock);
  all.streams.clear();
  all.events.clear();
  all.modules.clear();
  all.launchers.clear();
  all.graphs.clear();
  all.graph_execs.clear();
  all.mappings.clear();
  all.allocations.clear();
  all.reservations.clear();
  all.pages.clear();
  all.freed.clear();
  all.pinned.clear();
  all.registered.clear();
  all.violations.clear();
  all.fault = {};
  all.started = false;
  all.calls_by_name.clear();
  all.calls = all.transfers = all.pushed = 0;
  current_contexts().clear();
  all.settings = settings;
  make_devices(all);
}

void compute(const std::string& name, Launcher launcher) {
  const std::scoped_lock lock(state().mutex);
  state().launchers[name] = std::move(launcher);
}

void fail_call(std::uint64_t k, CUresult error, bool and_after) {
  const std::scoped_lock lock(state().mutex);
  state().fault = {.calls_left = k, .error = error, .and_after = and_after};
}

std::string stop_failing() {
  const std::scoped_lock lock(state().mutex);
  return std::exchange(state().fault, {}).victim;
}

std::uint64_t calls() {
  const std::scoped_lock lock(state().mutex);
  return state().calls;
}

std::map<std::string, std::uint64_t> calls_by_name() {
  const std::scoped_lock lock(state().mutex);
  return state().calls_by_name;
}

std::uint64_t transfers() {
  const std::scoped_lock lock(state().mutex);
  return state().transfers;
}

std::vector<std::string> violations() {
  const std::scoped_lock lock(state().mutex);
  return state().violations;
}

Live live_now() {
  const State& all = state();
  Live live;
  live.reservations = all.reservations.size();
  live.mappings = all.mappings.size();
  live.allocations = all.allocations.size();
  live.pinned = all.pinned.size();
  live.registered = all.registered.size();
  live.pushed = all.pushed;
  live.modules = all.modules.size();
  live.graphs = all.graphs.size() + all.graph_execs.size();
  std::set<const Memory*> pages;
  for (const auto& [handle, memory] : all.pages) pages.insert(memory.get());
  for (const auto& [at, mapping] : all.mappings) pages.insert(mapping.memory.get());
  live.pages = pages.size();
  for (const auto& [handle, stream] : all.streams) live.streams += stream->destroyed ? 0U : 1U;
  for (const auto& [handle, event] : all.events) live.events += event->destroyed ? 0U : 1U;
  for (const Device& device : all.devices) {
    live.retains += device.context.retains;
    live.bytes += device.used;
    // It belongs to the context, not to the caller.
    if (device.default_stream != nullptr) --live.streams;
  }
  return live;
}

Live live() {
  const std::scoped_lock lock(state().mutex);
  return live_now();
}

std::ostream& operator<<(std::ostream& out, const Live& live) {
  return out << live.reservations << " reservations, " << live.pages << " pages, " << live.mappings
             << " mappings, " << live.allocations << " allocations, " << live.pinned << " pinned, "
             << live.registered << " registered, " << live.streams << " streams, " << live.events
             << " events, " << live.retains << " retains, " << live.pushed << " pushed contexts, "
             << live.bytes << " bytes, " << live.modules << " modules, " << live.graphs
             << " graphs";
}

}  // namespace tapedeck::tests::stand_in

using namespace tapedeck::tests::stand_in;

CUresult CUDAAPI cuInit(unsigned int flags) {
  STAND_IN_FOR(Needs::nothing);
  if (flags != 0) return call.violation("flags must be 0");
  if (state().settings.devices == 0) return CUDA_ERROR_NO_DEVICE;
  state().started = true;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  STAND_IN_FOR(Needs::nothing);
  *version = state().settings.driver_version;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuGetErrorName(CUresult error, const char** name) {
  STAND_IN_FOR(Needs::nothing);
  static constexpr std::array kNames = {
      std::pair{CUDA_SUCCESS, "CUDA_SUCCESS"},
      std::pair{CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
      std::pair{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      std::pair{CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
      std::pair{CUDA_ERROR_DEINITIALIZED, "CUDA_ERROR_DEINITIALIZED"},
      std::pair{CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
      std::pair{CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
      std::pair{CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
      std::pair{CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      std::pair{CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
                "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED"},
      std::pair{CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN"}};
  const auto* const found = std::find_if(kNames.begin(), kNames.end(),
                                         [&](const auto& one) { return one.first == error; });
  *name = found != kNames.end() ? found->second : nullptr;
  return found != kNames.end() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
  STAND_IN_FOR(Needs::start);
  *count = state().settings.devices;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
  STAND_IN_FOR(Needs::start);
  if (!is_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetName(char* name, int length, CUdevice device) {
  STAND_IN_FOR(Needs::start);
  if (!is_device(device)) return call.violation("no such device", CUDA_ERROR_INVALID_DEVICE);
  std::snprintf(name, static_cast<std::size_t>(length), "stand-in");
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  STAND_IN_FOR(Needs::start);
  if (!is_device(device)) return call.violation("no such device", CUDA_ERROR_INVALID_DEVICE);
  *value = attribute_of(attribute);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  STAND_IN_FOR(Needs::start);
  if (!is_device(device)) return call.violation("no such device", CUDA_ERROR_INVALID_DEVICE);
  *bytes = state().settings.memory;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice ordinal) {
  STAND_IN_FOR(Needs::start);
  CUresult error = CUDA_SUCCESS;
  Device* const device = device_of(call, ordinal, error);
  if (device == nullptr) return error;
  ++device->context.retains;
  *context = &device->context;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
  STAND_IN_FOR(Needs::start);
  CUresult error = CUDA_SUCCESS;
  Device* const device = device_of(call, ordinal, error);
  if (device == nullptr) return error;
  if (device->context.retains == 0) {
    return call.violation("released more often than retained", CUDA_ERROR_INVALID_CONTEXT);
  }
  if (--device->context.retains == 0) report_leaks(call);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPushCurrent_v2(CUcontext wanted) {
  STAND_IN_FOR(Needs::start);
  const CUctx_st* const context = find_context(wanted);
  if (context == nullptr || context->retains == 0) {
    return call.violation("the context is not retained", CUDA_ERROR_INVALID_CONTEXT);
  }
  current_contexts().push_back(wanted);
  ++state().pushed;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPopCurrent_v2(CUcontext* context) {
  STAND_IN_FOR(Needs::context);
  *context = current_contexts().back();
  current_contexts().pop_back();
  --state().pushed;
  return CUDA_SUCCESS;
}
