// SPDX-License-Identifier: Apache-2.0
#include "llama/host_kernels/lanes.hpp"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

// NOLINTBEGIN(readability-identifier-naming)
constinit thread_local GridIndex threadIdx{};
constinit thread_local GridIndex blockIdx{};
constinit thread_local GridIndex blockDim{};
// NOLINTEND(readability-identifier-naming)

namespace tapedeck::tests {
namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMostLanes = 1024;
constexpr std::size_t kStack = std::size_t{64} << 10;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "a kernel on the host: %s\n", what);
  std::abort();
}

/// A thread of a block. It has a stack of its own, which it keeps for the next block.
struct Lane {
  enum class State : unsigned char { running, at_barrier, left };

  ucontext_t first{};   ///< where it begins
  std::jmp_buf next{};  ///< where it continues
  bool begun = false;
  State state = State::left;
  unsigned shuffles = 0;
  std::array<float, 2> sent{};  ///< The values of its last two shuffles.
};

/// All lanes of a block, run by one host thread.
class Block {
 public:
  Block()
      : stacks_(::mmap(nullptr, kMostLanes * kStack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
        lanes_(kMostLanes) {
    if (stacks_ == MAP_FAILED) die("cannot allocate stacks");
  }
  ~Block() { ::munmap(stacks_, kMostLanes * kStack); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void run(unsigned threads, const std::function<void()>& thread) {
    thread_ = &thread;
    count_ = threads;
    for (unsigned i = 0; i < threads; ++i) {
      lanes_[i].state = Lane::State::running;
      lanes_[i].shuffles = 0;
    }
    do {
      // A GPU guarantees no order. In this order a missing barrier shows when the other warps
      // depend on the first one, which always has work to do.
      for (unsigned end = threads; end != 0; end -= kWarp) run_warp(end - kWarp);
    } while (open_barrier());
  }

  float shuffle(float value, unsigned distance) {
    const unsigned own = threadIdx.x;
    Lane& lane = lanes_[own];
    const unsigned turn = lane.shuffles++;
    lane.sent[turn % 2] = value;
    stop();
    const unsigned other = own ^ distance;
    if (other >= count_ || lanes_[other].shuffles <= turn)
      die("a shuffle with a lane that is not there");
    return lanes_[other].sent[turn % 2];
  }

  void wait_for_all() {
    lanes_[threadIdx.x].state = Lane::State::at_barrier;
    stop();
  }

 private:
  // Its lanes continue in turn, each from one shuffle to the next.
  void run_warp(unsigned first) {
    bool any = true;
    while (any) {
      any = false;
      for (unsigned i = first; i < first + kWarp; ++i) {
        if (lanes_[i].state != Lane::State::running) continue;
        any = true;
        go_on(i);
      }
    }
  }

  bool open_barrier() {
    bool any = false;
    for (unsigned i = 0; i < count_; ++i) {
      if (lanes_[i].state != Lane::State::at_barrier) continue;
      any = true;
      lanes_[i].state = Lane::State::running;
    }
    return any;
  }

  void go_on(unsigned i) {
    Lane& lane = lanes_[i];
    threadIdx.x = i;
    if (::_setjmp(scheduler_) != 0) return;
    if (lane.begun) ::longjmp(lane.next, 1);
    lane.begun = true;
    begin(lane, i);
  }

  [[noreturn]] void begin(Lane& lane, unsigned i) {
    ::getcontext(&lane.first);
    // If all stacks had the same offset in a page, they would contend for the same cache lines.
    const std::size_t shift = std::size_t{128} * (i * 5 % 32);
    lane.first.uc_stack.ss_sp = static_cast<std::byte*>(stacks_) + i * kStack;
    lane.first.uc_stack.ss_size = kStack - shift;
    lane.first.uc_link = nullptr;
    ::makecontext(&lane.first, &Block::live, 0);
    ::setcontext(&lane.first);
    die("no context");
  }

  static void live();

  void stop() {
    if (::_setjmp(lanes_[threadIdx.x].next) == 0) ::longjmp(scheduler_, 1);
  }

  void* stacks_;
  std::vector<Lane> lanes_;
  std::jmp_buf scheduler_{};
  const std::function<void()>* thread_ = nullptr;
  unsigned count_ = 0;
};

Block& block() {
  thread_local Block one;
  return one;
}

void Block::live() {
  Block& all = block();
  while (true) {
    (*all.thread_)();
    all.lanes_[threadIdx.x].state = Lane::State::left;
    all.stop();
  }
}

}  // namespace

void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& thread) {
  if (threads > kMostLanes || threads % kWarp != 0) die("a block must consist of whole warps");
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) block().run(threads, thread);
}

}  // namespace tapedeck::tests

float __shfl_xor_sync(unsigned lanes, float value, unsigned distance) {
  if (lanes != 0xffffffff) tapedeck::tests::die("a shuffle must include all lanes");
  return tapedeck::tests::block().shuffle(value, distance);
}

void __syncthreads() { tapedeck::tests::block().wait_for_all(); }
