/// @file
/// A stand-in for the CUDA driver: a `libcuda.so.1` of host memory, for tests. It knows no mercy:
/// what CUDA leaves undefined is a violation here. A program that links it has it found by
/// `dlopen("libcuda.so.1")`, which looks among what is loaded already.
///
/// Device addresses hold nothing: the memory behind them lies elsewhere, so a host that
/// dereferences one dies. Each stream is a thread, and copies of host memory are asynchronous
/// whether it is pinned or not: they touch it when their turn comes. Kernels may be launched and
/// captured; what they compute, if anything, a test says.
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
  std::size_t memory = std::size_t{64} << 20;  ///< Bytes of each device.
  std::size_t overhead = 0;                    ///< Of them, those that the driver itself takes.
  std::size_t granularity = kGranularity;      ///< A power of two that divides it.
  bool virtual_memory = true;
  bool unified_addressing = true;
  /// The host may dereference a device's addresses, to compute what a kernel would. Otherwise that
  /// is a segmentation fault, as with a GPU.
  bool host_visible = false;
};

/// Starts again: waits for all streams, forgets all objects, violations and faults. What the
/// caller still holds is invalid.
void reset(const Settings& settings = {});

/// The k-th call from now (from 1) gives `error` and does nothing; with `and_after`, so do all
/// that follow it.
void fail_call(std::uint64_t k, CUresult error, bool and_after = false);
/// No call fails any more. The one that did, if any, by name; otherwise "".
std::string stop_failing();

/// Calls since the last reset.
[[nodiscard]] std::uint64_t calls();
/// The same for each entry point that was called.
[[nodiscard]] std::map<std::string, std::uint64_t> calls_by_name();

/// What broke CUDA's rules: "cuMemFree_v2: ...". Each once, in order.
[[nodiscard]] std::vector<std::string> violations();

/// What is there and was not given back.
struct Live {
  std::size_t reservations = 0;
  std::size_t pages = 0;  ///< With a handle, or mapped.
  std::size_t mappings = 0;
  std::size_t allocations = 0;
  std::size_t pinned = 0;      ///< Allocated.
  std::size_t registered = 0;  ///< Pinned where they were.
  std::size_t streams = 0;
  std::size_t events = 0;
  std::size_t retains = 0;  ///< Of primary contexts.
  std::size_t pushed = 0;   ///< Contexts pushed and not popped, by all threads.
  std::size_t bytes = 0;    ///< Of device memory.
  std::size_t modules = 0;
  std::size_t graphs = 0;  ///< Instantiated or not.
  friend bool operator==(const Live&, const Live&) = default;
};
[[nodiscard]] Live live();
std::ostream& operator<<(std::ostream& out, const Live& live);

/// While it lives, the stream begins nothing. nullptr: device 0's default stream.
class Hold {
 public:
  explicit Hold(CUstream stream);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  void* stream_;
};

/// A launch of a kernel, with the parameters that it was launched with.
using Launch = std::function<void()>;
/// Makes one: of so many blocks, of so many threads each, with `cuLaunchKernel`'s parameters.
using Launcher = std::function<Launch(unsigned blocks, unsigned threads, void** parameters)>;

/// Kernels of this name compute, on the stream that they are launched on, until the next reset.
/// The others compute nothing.
void compute(const std::string& name, Launcher launcher);

/// Copies and fills that have run since the last reset.
[[nodiscard]] std::uint64_t transfers();

}  // namespace tapedeck::tests::stand_in
