// SPDX-License-Identifier: Apache-2.0
/// @file
/// A stand-in for the CUDA driver: a `libcuda.so.1` for tests whose devices are host memory. It is
/// strict: whatever CUDA leaves undefined is a violation here. In a program that links it,
/// `dlopen("libcuda.so.1")` finds it, because it searches the loaded libraries first.
///
/// Device addresses have no memory of their own, so a host that dereferences one crashes. The
/// memory behind them is elsewhere. Each stream is a thread. Copies of host memory are asynchronous
/// whether it is pinned or not: they access it when they run. Kernels may be launched and captured;
/// a test can define what they compute.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace tapedeck::tests::stand_in {

inline constexpr std::size_t kGranularity = std::size_t{2} << 20;
inline constexpr std::size_t kAllocationAlignment = 256;

struct Settings {
  int devices = 1;
  int driver_version = 13000;
  std::size_t memory = std::size_t{64} << 20;  ///< The memory of each device in bytes.
  std::size_t overhead = 0;                    ///< How many of these bytes the driver itself uses.
  std::size_t granularity = kGranularity;      ///< A power of two that divides the memory.
  bool virtual_memory = true;
  bool unified_addressing = true;
  bool integrated = false;  ///< Its memory is the host's.
  /// Whether the host may dereference a device's addresses, to compute what a kernel would. If not,
  /// doing so is a segmentation fault, as with a GPU.
  bool host_visible = false;
};

/// Resets the driver: waits for all streams, and forgets all objects, violations and faults.
/// Whatever the caller still holds becomes invalid.
void reset(const Settings& settings = {});

/// Makes the k-th call from now (counted from 1) return `error` and do nothing; with `and_after`,
/// all later calls too.
void fail_call(std::uint64_t k, CUresult error, bool and_after = false);
/// Ends injected failures. Returns the name of the call that failed, or "" if none did.
std::string stop_failing();

/// The number of calls since the last reset.
[[nodiscard]] std::uint64_t calls();
/// The number of calls of each entry point that was called.
[[nodiscard]] std::map<std::string, std::uint64_t> calls_by_name();

/// The violations of CUDA's rules, such as "cuMemFree_v2: ...". Each is listed once, in order.
[[nodiscard]] std::vector<std::string> violations();

/// Objects that exist and have not been released.
struct Live {
  std::size_t reservations = 0;
  std::size_t pages = 0;  ///< Pages with a handle or a mapping.
  std::size_t mappings = 0;
  std::size_t allocations = 0;
  std::size_t pinned = 0;      ///< Allocated as pinned memory.
  std::size_t registered = 0;  ///< Existing memory that was pinned.
  std::size_t streams = 0;
  std::size_t events = 0;
  std::size_t retains = 0;  ///< Of primary contexts.
  std::size_t pushed = 0;   ///< Contexts pushed and not popped, by all threads.
  std::size_t bytes = 0;    ///< Of device memory.
  std::size_t modules = 0;
  std::size_t graphs = 0;  ///< Graphs, instantiated or not.
  friend bool operator==(const Live&, const Live&) = default;
};
[[nodiscard]] Live live();
std::ostream& operator<<(std::ostream& out, const Live& live);

/// While it lives, the stream starts no work. nullptr means the default stream of device 0.
class Hold {
 public:
  explicit Hold(CUstream stream);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  void* stream_;
};

/// A launch of a kernel, with its parameters.
using Launch = std::function<void()>;
/// Creates a launch with this many blocks and threads per block, from `cuLaunchKernel`'s
/// parameters.
using Launcher = std::function<Launch(unsigned blocks, unsigned threads, void** parameters)>;

/// Makes kernels of this name compute on the stream that they are launched on, until the next
/// reset. All other kernels do nothing.
void compute(const std::string& name, Launcher launcher);

/// The number of copies and fills that have run since the last reset.
[[nodiscard]] std::uint64_t transfers();

}  // namespace tapedeck::tests::stand_in
