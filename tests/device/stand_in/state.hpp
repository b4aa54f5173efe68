// SPDX-License-Identifier: Apache-2.0
/// @file
/// The state of the stand-in, guarded by one mutex.
#pragma once

#include <cuda.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "device/stand_in/stand_in.hpp"

// The only handle type of the driver for which the stand-in needs a definition.
struct CUctx_st {
  int device = 0;
  std::size_t retains = 0;
};

namespace tapedeck::tests::stand_in {

using Address = CUdeviceptr;

/// An address range without memory, aligned to the granularity.
class AddressRange {
 public:
  explicit AddressRange(std::size_t bytes);
  ~AddressRange();
  AddressRange(AddressRange&& other) noexcept;
  AddressRange& operator=(AddressRange&&) = delete;

  [[nodiscard]] Address begin() const noexcept { return begin_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  void* raw_;
  Address begin_;
  std::size_t bytes_;
};

/// Physical memory of a device, counted in `used` while it exists.
class Memory {
 public:
  Memory(int device, std::size_t bytes, std::atomic<std::size_t>& used, bool visible);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Makes the memory visible to the host at a device address, if that was requested.
  void show_at(Address at) const;
  static void hide(Address at, std::size_t bytes);

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  int device_;
  std::size_t bytes_;
  int file_;  // -1 if the memory is not visible to the host
  std::byte* data_ = nullptr;
  std::atomic<std::size_t>& used_;
};

/// The first `bytes` of a memory, mapped at an address.
struct Mapping {
  std::size_t bytes = 0;
  std::shared_ptr<Memory> memory;
  bool accessible = false;
};

/// A moment that a stream reaches once.
struct Moment {
  bool reached = false;
  std::chrono::steady_clock::time_point when{};  ///< The time at which it was reached.
};

/// A piece of work on a stream.
struct Task {
  enum class Kind : std::uint8_t { copy, fill, record, wait, kernel };
  Kind kind;
  Address to = 0;
  Address from = 0;
  std::size_t bytes = 0;
  unsigned char value = 0;
  std::shared_ptr<Moment> moment{};
  Launch launch{};
};

struct Stream {
  int device = 0;
  bool held = false;
  bool destroyed = false;
  bool captured = false;
  std::vector<Launch> capture{};  ///< What was put on it since the capture began.
  std::deque<Task> tasks{};       ///< The first task may be running.
  std::thread worker{};
};

struct Event {
  int device = 0;
  bool destroyed = false;
  std::shared_ptr<Moment> recorded{};
};

struct Fault {
  std::uint64_t calls_left = 0;  ///< 0 means that no call fails.
  CUresult error = CUDA_SUCCESS;
  bool and_after = false;
  std::string victim{};
};

struct Device {
  CUctx_st context{};
  std::atomic<std::size_t> used{0};
  Stream* default_stream = nullptr;
};

struct State {
  std::mutex mutex;
  std::condition_variable changed;  ///< A task was added or has run, or a stream is no longer held.

  Settings settings{};
  bool started = false;
  std::uint64_t calls = 0;
  std::map<std::string, std::uint64_t> calls_by_name{};
  std::uint64_t transfers = 0;
  std::size_t pushed = 0;
  Fault fault{};
  std::vector<std::string> violations{};

  std::deque<Device> devices{};
  std::map<Address, AddressRange> reservations{};
  std::map<Address, Mapping> mappings{};
  std::map<CUmemGenericAllocationHandle, std::shared_ptr<Memory>> pages{};
  CUmemGenericAllocationHandle last_handle = 0;
  std::map<Address, std::pair<AddressRange, Mapping>> allocations{};
  std::vector<AddressRange> freed{};  ///< Kept, so that their addresses are never reused.
  std::map<void*, std::pair<std::unique_ptr<std::byte[]>, std::size_t>> pinned{};
  std::map<void*, std::size_t> registered{};
  // Destroyed ones are kept, so that their handles are never reused.
  std::map<CUstream, std::unique_ptr<Stream>> streams{};
  std::map<CUevent, std::unique_ptr<Event>> events{};
  std::set<CUmodule> modules{};
  std::set<std::string> functions{};  ///< Of all modules; a CUfunction is the address of an entry.
  std::map<std::string, Launcher> launchers{};  ///< Of kernels that compute.
  std::map<CUgraph, std::vector<Launch>> graphs{};
  std::map<CUgraphExec, std::vector<Launch>> graph_execs{};
  std::uintptr_t last_object = 0;  ///< The handle of a module or a graph.

  ~State();
};

[[nodiscard]] State& state();

/// The contexts that this thread has pushed.
[[nodiscard]] std::vector<CUcontext>& current_contexts();

/// What must have been called before an entry point may be called.
enum class Needs : std::uint8_t { nothing, start, context };

/// A call of an entry point: holds the mutex, counts the call, and fails if it should.
class Call {
 public:
  explicit Call(const char* name, Needs needs = Needs::context);

  [[nodiscard]] bool refused() const noexcept { return result_ != CUDA_SUCCESS; }
  [[nodiscard]] CUresult result() const noexcept { return result_; }
  /// Reports a violation, and returns the error for the caller.
  CUresult violation(const std::string& what, CUresult error = CUDA_ERROR_INVALID_VALUE) const;
  [[nodiscard]] std::unique_lock<std::mutex>& lock() noexcept { return lock_; }
  /// The device of the current context.
  [[nodiscard]] int device() const;

 private:
  /// Counts the call. Returns the injected error if it should fail.
  [[nodiscard]] CUresult counted() const;

  std::string name_;
  std::unique_lock<std::mutex> lock_;
  CUresult result_;
};

/// Begins an entry point and defines `call`. Returns from the entry point if the call should fail.
#define STAND_IN_FOR(needs)   \
  Call call(__func__, needs); \
  if (call.refused()) return call.result()

/// A piece of host memory that backs a piece of an address range.
struct Piece {
  std::byte* at = nullptr;
  std::size_t bytes = 0;
  std::shared_ptr<Memory> memory{};  ///< Keeps it alive; null for the host's own memory.
};

/// The memory behind addresses, or the reason why they must not be used.
struct Resolved {
  std::vector<Piece> pieces{};
  std::string error{};
  bool on_device = false;
};
[[nodiscard]] Resolved resolve(Address at, std::size_t bytes);

/// Whether unfinished work on a stream uses the range.
[[nodiscard]] bool in_use(Address at, std::size_t bytes);

/// Returns the stream, or null after reporting a violation: if it does not exist, belongs to
/// another device, or is being captured. Only launches of kernels may be captured.
[[nodiscard]] Stream* stream_of(const Call& call, CUstream handle, bool may_be_captured = false);

/// Appends a task to a stream.
void put(Stream& stream, Task task);

/// Ends all streams, including held ones, and waits for them.
void end_streams(std::unique_lock<std::mutex>& lock);

[[nodiscard]] Live live_now();
[[nodiscard]] std::string hex(Address at);

}  // namespace tapedeck::tests::stand_in
