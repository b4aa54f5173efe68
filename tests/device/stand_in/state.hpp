/// @file
/// What the stand-in keeps in mind. All of it is guarded by one mutex.
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

// The driver's one handle type that the stand-in needs to have something of.
struct CUctx_st {
  int device = 0;
  std::size_t retains = 0;
};

namespace tapedeck::tests::stand_in {

using Address = CUdeviceptr;

/// Address space without memory, aligned to the granularity.
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

/// Physical memory of a device, counted in `used` as long as it is there.
class Memory {
 public:
  Memory(int device, std::size_t bytes, std::atomic<std::size_t>& used, bool visible);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// Lets the host see it at a device's address, where that was asked for.
  void show_at(Address at) const;
  static void hide(Address at, std::size_t bytes);

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  int device_;
  std::size_t bytes_;
  int file_;  // -1: the host does not see it
  std::byte* data_ = nullptr;
  std::atomic<std::size_t>& used_;
};

/// Memory at an address: `bytes` of it from its beginning.
struct Mapping {
  std::size_t bytes = 0;
  std::shared_ptr<Memory> memory;
  bool accessible = false;
};

/// A moment that a stream reaches once.
struct Moment {
  bool reached = false;
  std::chrono::steady_clock::time_point when{};  ///< It was reached.
};

/// Something on a stream.
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
  std::vector<Launch> capture{};  ///< What was put on it since.
  std::deque<Task> tasks{};       ///< The first may be running.
  std::thread worker{};
};

struct Event {
  int device = 0;
  bool destroyed = false;
  std::shared_ptr<Moment> recorded{};
};

struct Fault {
  std::uint64_t calls_left = 0;  ///< 0: none.
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
  std::condition_variable changed;  ///< A task was put, has run, or a stream was let go.

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
  std::vector<AddressRange> freed{};  ///< Kept, so that their addresses never come back.
  std::map<void*, std::pair<std::unique_ptr<std::byte[]>, std::size_t>> pinned{};
  std::map<void*, std::size_t> registered{};
  // Those destroyed stay, so that their handles never come back.
  std::map<CUstream, std::unique_ptr<Stream>> streams{};
  std::map<CUevent, std::unique_ptr<Event>> events{};
  std::set<CUmodule> modules{};
  std::set<std::string> functions{};  ///< Of any module: a CUfunction is the address of one.
  std::map<std::string, Launcher> launchers{};  ///< Of kernels that compute.
  std::map<CUgraph, std::vector<Launch>> graphs{};
  std::map<CUgraphExec, std::vector<Launch>> graph_execs{};
  std::uintptr_t last_object = 0;  ///< Handle of a module or a graph.

  ~State();
};

[[nodiscard]] State& state();

/// The contexts that this thread pushed.
[[nodiscard]] std::vector<CUcontext>& current_contexts();

/// What an entry point needs before it may be called.
enum class Needs : std::uint8_t { nothing, start, context };

/// One call of an entry point: holds the mutex, counts, and fails where it is told to.
class Call {
 public:
  explicit Call(const char* name, Needs needs = Needs::context);

  [[nodiscard]] bool refused() const noexcept { return result_ != CUDA_SUCCESS; }
  [[nodiscard]] CUresult result() const noexcept { return result_; }
  /// Reports it, and gives the error to return.
  CUresult violation(const std::string& what, CUresult error = CUDA_ERROR_INVALID_VALUE) const;
  [[nodiscard]] std::unique_lock<std::mutex>& lock() noexcept { return lock_; }
  /// Of the current context.
  [[nodiscard]] int device() const;

 private:
  /// Counts the call, and gives its fault if it is to fail.
  [[nodiscard]] CUresult counted() const;

  std::string name_;
  std::unique_lock<std::mutex> lock_;
  CUresult result_;
};

/// Begins an entry point, as `call`; the one that is to fail ends with it.
#define STAND_IN_FOR(needs)   \
  Call call(__func__, needs); \
  if (call.refused()) return call.result()

/// A piece of host memory that is behind a piece of a range.
struct Piece {
  std::byte* at = nullptr;
  std::size_t bytes = 0;
  std::shared_ptr<Memory> memory{};  ///< Stays while it is used; null: the host's own.
};

/// What is behind addresses, or why they may not be used.
struct Resolved {
  std::vector<Piece> pieces{};
  std::string error{};
  bool on_device = false;
};
[[nodiscard]] Resolved resolve(Address at, std::size_t bytes);

/// Whether something that is on a stream and has not run touches the range.
[[nodiscard]] bool in_use(Address at, std::size_t bytes);

/// Null where there is none, it is another device's, or it is being captured, which launches of
/// kernels may do alone: then it was reported.
[[nodiscard]] Stream* stream_of(const Call& call, CUstream handle, bool may_be_captured = false);

/// Puts it behind what is on the stream.
void put(Stream& stream, Task task);

/// Lets every stream end, held ones too, and waits for it.
void end_streams(std::unique_lock<std::mutex>& lock);

[[nodiscard]] Live live_now();
[[nodiscard]] std::string hex(Address at);

}  // namespace tapedeck::tests::stand_in
