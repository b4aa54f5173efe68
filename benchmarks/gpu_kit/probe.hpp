// SPDX-License-Identifier: Apache-2.0
/// @file
/// `gpu_probe` finds out facts about a GPU that decide how a layout may use it. Each function is a
/// section.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "compare.hpp"
#include "gpu.hpp"

extern "C" const unsigned char probe_kernels[];

namespace tapedeck::gpu_kit {

using gpu_rows::Gpu;

/// The arguments after the section's name; `argv[0]` is the program.
using Arguments = std::vector<char*>;

// Each returns main's exit code, and writes its figures to FILE if it gets `--json=FILE`.

/// What the driver reports about the device, and which kinds of memory it really provides.
[[nodiscard]] int probe_facts(Arguments arguments);
/// Whether one page may be mapped at two addresses, and which writes are visible through them.
[[nodiscard]] int probe_alias(Arguments arguments);
/// What each virtual memory call costs.
[[nodiscard]] int probe_pages(Arguments arguments);
/// What reading K in chunks costs, compared with reading it in one run. `--tokens=N` replaces the
/// default contexts.
[[nodiscard]] int probe_chunks(Arguments arguments);

/// The driver's properties for pages of a device.
[[nodiscard]] CUmemAllocationProp pages_of(CUdevice device);
/// Read and write access by a device.
[[nodiscard]] CUmemAccessDesc access_by(CUdevice device);

/// Physical memory in handles of the same size.
class Handles {
 public:
  Handles(const Gpu& gpu, std::size_t count, std::size_t bytes_each);
  ~Handles() { release(); }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  void create();
  void release() noexcept;

  [[nodiscard]] const std::vector<CUmemGenericAllocationHandle>& all() const { return handles_; }
  [[nodiscard]] std::size_t bytes_each() const { return bytes_each_; }
  [[nodiscard]] std::size_t bytes() const { return count_ * bytes_each_; }

 private:
  CUmemAllocationProp properties_;
  std::size_t count_;
  std::size_t bytes_each_;
  std::vector<CUmemGenericAllocationHandle> handles_;
};

/// One call for the whole range, or one for each handle.
enum class Calls { one, each };

/// A range of addresses, with handles mapped into it one after the other.
class Mapping {
 public:
  Mapping(const Gpu& gpu, const Handles& handles);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void reserve();
  void map();
  void allow_access(Calls calls);
  void unmap(Calls calls);
  void unreserve();

  [[nodiscard]] CUdeviceptr at() const { return at_; }

 private:
  [[nodiscard]] CUdeviceptr at(std::size_t handle) const;

  const Handles& handles_;
  CUmemAccessDesc access_;
  CUdeviceptr at_ = 0;
  std::size_t mapped_ = 0;  ///< How many handles are mapped, counted from the first one.
};

}  // namespace tapedeck::gpu_kit
