// SPDX-License-Identifier: Apache-2.0
// Measures what one take costs, with two loads: the token trace, and 200 takes of 64 bytes. Each
// token ends with a clear, whose time is part of its takes.
#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "compare.hpp"
#include "heaps.hpp"
#include "peers.hpp"
#include "tapedeck/tapedeck.hpp"
#include "trace.hpp"

namespace {

using namespace tapedeck;

constexpr std::size_t kRoom = 8_MiB;  // of every allocator, enough for two tokens

// --- Ours ---------------------------------------------------------------------------------------

struct OurTape {
  Tape tape = Tape::start_warm(kRoom);
  void end_token() { tape.clear(); }
};
struct TryTake : OurTape {
  void* take(std::size_t bytes) { return tape.try_take(bytes); }
};
struct Take : OurTape {
  void* take(std::size_t bytes) { return tape.take(bytes); }
};
struct TypedTake : OurTape {
  void* take(std::size_t elements) { return tape.take<float>(elements).data(); }
};
struct Resource : OurTape {
  TapeResource resource{tape};
  peers::Virtual pmr{resource};
  void* take(std::size_t bytes) { return pmr.take(bytes); }
};
struct Shared {
  SharedTape tape = SharedTape::start(kRoom);
  void* take(std::size_t bytes) { return tape.try_take(bytes); }
  void end_token() { tape.clear(); }
};

// --- One thread ---------------------------------------------------------------------------------

// Each allocator has a function of its own, and must assume that other code can access it too.
template <class Allocator>
[[gnu::noinline]] void token(Allocator& allocator, std::span<const std::size_t> sizes) {
  for (const std::size_t size : sizes) trace::sink(allocator.take(size));
  allocator.end_token();
}

template <class Allocator>
[[gnu::noinline]] void token_of_64(Allocator& allocator, std::size_t takes) {
  for (std::size_t i = 0; i < takes; ++i) trace::sink(allocator.take(64));
  allocator.end_token();
}

template <class Allocator, class... Arguments>
void add(const std::string& name, const std::vector<std::size_t>& sizes, Arguments... arguments) {
  benchmark::RegisterBenchmark(("trace/" + name).c_str(), [=](benchmark::State& state) {
    Allocator allocator{arguments...};
    token(allocator, sizes);
    for (auto _ : state) token(allocator, sizes);
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(sizes.size()));
  });
}

template <class Allocator, class... Arguments>
void add_64(const std::string& name, std::size_t takes, Arguments... arguments) {
  benchmark::RegisterBenchmark(("fixed64/" + name).c_str(), [=](benchmark::State& state) {
    Allocator allocator{arguments...};
    token_of_64(allocator, takes);
    for (auto _ : state) token_of_64(allocator, takes);
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(takes));
  });
}

// --- Two threads --------------------------------------------------------------------------------

/// Addresses without memory. Takes from a tape over them must not be touched. They have room for
/// all tokens of a run, because a shared tape cannot be cleared while other threads take from it.
class Addresses {
 public:
  Addresses()
      : at_(mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    if (at_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~Addresses() { munmap(at_, kBytes); }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;

  [[nodiscard]] std::span<std::byte> span() const { return {static_cast<std::byte*>(at_), kBytes}; }

 private:
  static constexpr std::size_t kBytes = 4096_GiB;
  void* at_;
};

/// Pins the calling thread to the n-th processor that it may use, until the end of the scope. Two
/// threads that share a processor would not contend.
class Pinned {
 public:
  explicit Pinned(int n) {
    sched_getaffinity(0, sizeof before_, &before_);
    int processor = -1;
    for (int seen = -1; seen < n && ++processor < CPU_SETSIZE;) {
      if (CPU_ISSET(static_cast<std::size_t>(processor), &before_)) ++seen;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(processor), &one);
    pinned_ = sched_setaffinity(0, sizeof one, &one) == 0;  // fails if there are fewer than n
  }
  ~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  explicit operator bool() const { return pinned_; }

 private:
  cpu_set_t before_{};
  bool pinned_;
};

[[gnu::noinline]] bool shared_token(SharedTape& tape, std::span<const std::size_t> sizes) {
  void* last = nullptr;
  for (const std::size_t size : sizes) trace::sink(last = tape.try_take(size));
  return last != nullptr;
}

void two_on_shared(benchmark::State& state, std::span<const std::size_t> sizes) {
  static const Addresses addresses;
  static SharedTape tape = SharedTape::over(Block::borrow(addresses.span()));
  if (state.thread_index() == 0) tape.clear();  // the loop begins with a barrier
  bool room = true;
  for (auto _ : state) room &= shared_token(tape, sizes);
  if (!room) state.SkipWithError("the tape was full");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(sizes.size()));
}

[[gnu::noinline]] void split_token(Tape& tape, std::span<const std::size_t> sizes) {
  for (const std::size_t size : sizes) trace::sink(tape.try_take(size));
  tape.clear();
}

void two_on_split(benchmark::State& state, std::span<const std::size_t> sizes) {
  static Tape parent = Tape::start_warm(2 * kRoom);
  static const std::span<Tape> children = parent.split(2);
  Tape& tape = children[static_cast<std::size_t>(state.thread_index())];
  for (auto _ : state) split_token(tape, sizes);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(sizes.size()));
}

void add_two_threads(const std::vector<std::size_t>& sizes) {
  using Body = void (*)(benchmark::State&, std::span<const std::size_t>);
  const auto add_one = [&](const char* name, Body body) {
    benchmark::RegisterBenchmark(name,
                                 [=](benchmark::State& state) {
                                   const Pinned pinned(state.thread_index());
                                   if (!pinned) state.SkipWithError("needs two processors");
                                   body(state, sizes);
                                 })
        ->Threads(2)
        ->UseRealTime();
  };
  add_one("trace/two_threads_split", two_on_split);
  add_one("trace/two_threads_shared", two_on_shared);
}

// --- All of them --------------------------------------------------------------------------------

void add_trace() {
  const std::vector<std::size_t> bytes = trace::bytes();
  add<TryTake>("try_take", bytes);
  add<Take>("take", bytes);
  add<TypedTake>("take_float", trace::elements());
  add<Resource>("tape_resource_virtual", bytes);
  add<Shared>("shared_tape", bytes);
  add<peers::NaiveBump>("naive_bump", bytes, kRoom);
  add<peers::RoundedBump>("checked_rounded_bump", bytes, kRoom);
  add<peers::CompareExchangeBump>("compare_exchange_bump", bytes, kRoom);
  add<peers::MonotonicDirect>("monotonic_direct", bytes, kRoom);
  add<peers::MonotonicVirtual>("monotonic_virtual", bytes, kRoom);
#if defined(TAPEDECK_BENCH_PROTOBUF)
  add<peers::ProtobufArena>("protobuf_arena", bytes, kRoom);
#endif
#if defined(TAPEDECK_BENCH_LLVM)
  add<peers::LlvmBump>("llvm_bump", bytes);
#endif
  if (heaps::malloc_is_glibc()) {
    add<peers::Heap<peers::AlignedMalloc>>("glibc_aligned", bytes, bytes.size());
    add<peers::Heap<peers::Malloc>>("glibc_16", bytes, bytes.size());
  }
  if (heaps::mimalloc()) {
    add<peers::Heap<peers::AlignedMimalloc>>("mimalloc_aligned", bytes, bytes.size());
    add<peers::Heap<peers::Mimalloc>>("mimalloc_16", bytes, bytes.size());
  }
  add_two_threads(bytes);
}

void add_fixed() {
  const std::size_t takes = trace::bytes().size();
  add_64<TryTake>("try_take", takes);
  add_64<Take>("take", takes);
  add_64<Resource>("tape_resource_virtual", takes);
  add_64<Shared>("shared_tape", takes);
  add_64<peers::NaiveBump>("naive_bump", takes, kRoom);
  add_64<peers::RoundedBump>("checked_rounded_bump", takes, kRoom);
  add_64<peers::CompareExchangeBump>("compare_exchange_bump", takes, kRoom);
  add_64<peers::MonotonicDirect>("monotonic_direct", takes, kRoom);
  add_64<peers::MonotonicVirtual>("monotonic_virtual", takes, kRoom);
#if defined(TAPEDECK_BENCH_PROTOBUF)
  add_64<peers::ProtobufArena>("protobuf_arena", takes, kRoom);
#endif
#if defined(TAPEDECK_BENCH_LLVM)
  add_64<peers::LlvmBump>("llvm_bump", takes);
#endif
  if (heaps::malloc_is_glibc())
    add_64<peers::Heap<peers::AlignedMalloc>>("glibc_aligned", takes, takes);
  if (heaps::mimalloc())
    add_64<peers::Heap<peers::AlignedMimalloc>>("mimalloc_aligned", takes, takes);
}

std::vector<compare::Claim> claims() {
  using namespace compare;
  return {
      at_most("trace/try_take", "trace/checked_rounded_bump", 1.10),
      times_as_fast("trace/try_take", "trace/monotonic_direct", 2),
      times_as_fast("trace/try_take", "trace/compare_exchange_bump", 8),
      times_as_fast("trace/try_take", "trace/mimalloc_aligned", 30),
      no_slower("trace/tape_resource_virtual", "trace/monotonic_virtual"),
      at_most("trace/shared_tape", "trace/compare_exchange_bump", 1.05),
      times_as_fast("trace/two_threads_split", "trace/two_threads_shared", 20),
      shown("trace/try_take", "trace/naive_bump"),
      shown("trace/try_take", "trace/take"),
      shown("trace/try_take", "trace/take_float"),
      shown("trace/try_take", "trace/protobuf_arena"),
      shown("trace/try_take", "trace/llvm_bump"),
      shown("trace/try_take", "trace/glibc_aligned"),
      shown("trace/try_take", "trace/glibc_16"),
      shown("trace/try_take", "trace/mimalloc_16"),
      shown("fixed64/try_take", "fixed64/checked_rounded_bump"),
      shown("fixed64/try_take", "fixed64/monotonic_direct"),
      shown("fixed64/try_take", "fixed64/llvm_bump"),
      shown("fixed64/try_take", "fixed64/mimalloc_aligned"),
  };
}

}  // namespace

int main(int argc, char** argv) {
  const std::string note = heaps::description();
  add_trace();
  add_fixed();
  return compare::run(argc, argv, claims(), {&note, 1});
}
