// SPDX-License-Identifier: Apache-2.0
// Collects what the driver reports about a device, and tries which kinds of memory it provides.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include "probe.hpp"
#include "report.hpp"

namespace tapedeck::gpu_kit {
namespace {

// Attributes are given by number, because the headers of older toolkits lack some of the names. The
// driver knows the numbers.
struct Attribute {
  int number;
  const char* name;
};
constexpr std::array kAttributes = {
    Attribute{16, "multiprocessors"},
    Attribute{36, "memory_clock_khz"},
    Attribute{37, "memory_bus_bits"},
    Attribute{38, "l2_cache_bytes"},
    Attribute{40, "async_engines"},
    Attribute{88, "pageable_memory_access"},
    Attribute{89, "concurrent_managed_access"},
    Attribute{95, "cooperative_launch"},
    Attribute{102, "virtual_memory_management"},
    Attribute{103, "handle_type_posix_file_descriptor"},
    Attribute{107, "generic_compression"},
    Attribute{110, "gpu_direct_rdma_with_virtual_memory"},
    Attribute{113, "read_only_host_register"},
    Attribute{115, "memory_pools"},
    Attribute{116, "gpu_direct_rdma"},
    Attribute{117, "gpu_direct_rdma_flush_writes_options"},
    Attribute{118, "gpu_direct_rdma_writes_ordering"},
    Attribute{124, "dma_buf"},
    Attribute{128, "handle_type_fabric"},
    Attribute{130, "numa_config"},
    Attribute{131, "numa_id"},
    Attribute{132, "multicast"},
    Attribute{134, "host_numa_id"},
    Attribute{141, "host_numa_virtual_memory_management"},
    Attribute{142, "host_numa_memory_pools"},
    Attribute{144, "host_memory_pools"},
    Attribute{145, "host_virtual_memory_management"},
    Attribute{146, "host_alloc_dma_buf"},
};

constexpr const char* kUnknown = "unknown";

Json attributes_of(const Gpu& gpu) {
  Json all = Json::object();
  for (const Attribute& attribute : kAttributes) {
    int value = 0;
    const CUresult result = internal::cuda_driver().device_get_attribute(
        &value, static_cast<CUdevice_attribute>(attribute.number), gpu.current.handle());
    all[attribute.name] = result == CUDA_SUCCESS ? Json(value) : Json(kUnknown);
  }
  return all;
}

/// A kind of physical memory.
struct Kind {
  const char* name;
  int location = 1;     ///< CUmemLocationType: 1 is a device, 3 a NUMA node of the host.
  int handle_type = 0;  ///< CUmemAllocationHandleType: 1 is a file descriptor, 8 fabric.
  bool rdma = false;
};
constexpr std::array kKinds = {
    Kind{.name = "device"},
    Kind{.name = "device_rdma", .rdma = true},
    Kind{.name = "device_file_descriptor", .handle_type = 1},
    Kind{.name = "device_fabric", .handle_type = 8},
    Kind{.name = "host_numa_0", .location = 3},
    Kind{.name = "host_numa_0_file_descriptor", .location = 3, .handle_type = 1},
};

CUmemAllocationProp properties_of(const Gpu& gpu, const Kind& kind) {
  CUmemAllocationProp properties = pages_of(gpu.current.handle());
  properties.location.type = static_cast<CUmemLocationType>(kind.location);
  if (kind.location != 1) properties.location.id = 0;
  properties.requestedHandleTypes = static_cast<CUmemAllocationHandleType>(kind.handle_type);
  properties.allocFlags.gpuDirectRDMACapable = kind.rdma ? 1 : 0;
  return properties;
}

Json name_of(CUresult result) { return internal::result_name(result); }

// Creates a page of each kind, releases it, and reports the name of the result.
Json kinds_of(const Gpu& gpu) {
  const internal::CudaDriver& cuda = internal::cuda_driver();
  Json all = Json::object();
  for (const Kind& kind : kKinds) {
    const CUmemAllocationProp properties = properties_of(gpu, kind);
    Json& one = all[kind.name];
    std::size_t least = 0;
    std::size_t recommended = 0;
    const CUresult asked =
        cuda.mem_granularity(&least, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
    if (asked != CUDA_SUCCESS) {
      one = {{"granularity", kUnknown}, {"create", name_of(asked)}};
      continue;
    }
    cuda.mem_granularity(&recommended, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    CUmemGenericAllocationHandle handle = 0;
    const CUresult created = cuda.mem_create(&handle, least, &properties, 0);
    if (created == CUDA_SUCCESS) cuda.mem_release(handle);
    one = {{"granularity", least}, {"recommended", recommended}, {"create", name_of(created)}};
  }
  return all;
}

// Tries mappings that are not documented to work, and reports the names of the results.
Json mapping_of(const Gpu& gpu) {
  constexpr std::size_t kPages = 4;
  const internal::CudaDriver& cuda = internal::cuda_driver();
  const std::size_t page = gpu.device.info().granularity;
  Handles handles(gpu, 1, kPages * page);
  handles.create();
  Mapping mapping(gpu, handles);
  mapping.reserve();
  const CUdeviceptr at = mapping.at();
  const auto try_to_map = [&](std::size_t bytes, std::size_t offset) {
    const CUresult mapped = cuda.mem_map(at, bytes, offset, handles.all().front(), 0);
    if (mapped == CUDA_SUCCESS) cuda.mem_unmap(at, bytes);
    return name_of(mapped);
  };
  Json all = {{"a_part_of_a_handle", try_to_map(page, 0)},
              {"a_handle_from_an_offset", try_to_map(page, page)}};
  mapping.map();
  CUmemAccessDesc access = access_by(gpu.current.handle());
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
  all["read_only_access"] = name_of(cuda.mem_set_access(at, handles.bytes(), &access, 1));
  all["access_to_a_part"] = name_of([&] {
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return cuda.mem_set_access(at + page, page, &access, 1);
  }());
  return all;
}

#if CUDA_VERSION >= 12010
template <class... Parameters>
std::optional<internal::EntryPoint<Parameters...>> optional_entry(const char* name) {
  try {
    return internal::EntryPoint<Parameters...>(internal::cuda_driver().handle, name);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Tries a multicast object with only one device, to find out whether the driver accepts it.
Json multicast() {
  const auto granularity =
      optional_entry<std::size_t*, const CUmulticastObjectProp*, CUmulticastGranularity_flags>(
          "cuMulticastGetGranularity");
  const auto create = optional_entry<CUmemGenericAllocationHandle*, const CUmulticastObjectProp*>(
      "cuMulticastCreate");
  if (!granularity || !create) return kUnknown;
  CUmulticastObjectProp properties{};
  properties.numDevices = 1;
  properties.size = std::size_t{2} << 20;
  std::size_t least = 0;
  const CUresult asked = (*granularity)(&least, &properties, CU_MULTICAST_GRANULARITY_MINIMUM);
  if (asked != CUDA_SUCCESS) return {{"granularity", kUnknown}, {"create", name_of(asked)}};
  properties.size = least;
  CUmemGenericAllocationHandle handle = 0;
  const CUresult created = (*create)(&handle, &properties);
  if (created == CUDA_SUCCESS) internal::cuda_driver().mem_release(handle);
  return {{"granularity", least}, {"create", name_of(created)}};
}
#else
Json multicast() { return kUnknown; }
#endif

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  return std::getline(in, line) ? line : kUnknown;
}

/// The CCCL version of the installed toolkit, such as "3.0.1" for 3000001.
std::string cccl_here() {
  const char* const home = std::getenv("CUDA_HOME");
  const std::string toolkit = home != nullptr ? home : "/usr/local/cuda";
  for (const char* const folder : {"/include/cccl", "/include"}) {
    std::ifstream in(toolkit + folder + "/cuda/std/__cccl/version.h");
    for (std::string line; std::getline(in, line);) {
      constexpr std::string_view kDefine = "#define CCCL_VERSION ";
      if (!line.starts_with(kDefine)) continue;
      const int version = std::atoi(line.c_str() + kDefine.size());
      return std::to_string(version / 1'000'000) + "." + std::to_string(version / 1000 % 1000) +
             "." + std::to_string(version % 1000);
    }
  }
  return kUnknown;
}

}  // namespace

int probe_facts(Arguments arguments) {
  Report report(arguments);
  if (!Report::accepts(arguments)) return 2;
  const Gpu gpu(probe_kernels);
  const DeviceInfo& info = gpu.device.info();
  report["device"] = info.name;
  report["compute_capability"] =
      std::to_string(info.compute_major) + "." + std::to_string(info.compute_minor);
  report["memory"] = {{"total", info.total}, {"free", gpu.device.memory().free}};
  report["cuda_of_driver"] = info.driver;
  report["cuda_of_kernels"] = internal::version_text(CUDA_VERSION);
  report["driver"] = first_line("/proc/driver/nvidia/version");
  report["cccl"] = cccl_here();
  report["attributes"] = attributes_of(gpu);
  report["memory_kinds"] = kinds_of(gpu);
  report["multicast"] = multicast();
  report["mapping"] = mapping_of(gpu);
  std::puts(report.json().dump(1, ' ', false, Json::error_handler_t::replace).c_str());
  return report.write();
}

}  // namespace tapedeck::gpu_kit
