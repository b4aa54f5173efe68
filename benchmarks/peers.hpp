// SPDX-License-Identifier: Apache-2.0
/// @file
/// The allocators that Tapedeck is compared with. Each has `take(bytes)`, which aligns to 64 bytes
/// unless stated otherwise, and `end_token()`, which frees everything. Their memory is faulted in
/// beforehand.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <vector>

#if defined(TAPEDECK_BENCH_PROTOBUF)
#include <google/protobuf/arena.h>
#endif
#if defined(TAPEDECK_BENCH_LLVM)
#include <llvm/Support/Allocator.h>
#endif

#include "heaps.hpp"

namespace peers {

inline constexpr std::size_t kLine = 64;

/// Memory that is resident from the start.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kLine)))),
        size_(bytes) {
    std::memset(data_.get(), 1, bytes);
  }

  [[nodiscard]] std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uintptr_t begin() const { return reinterpret_cast<std::uintptr_t>(data()); }
  [[nodiscard]] std::uintptr_t end() const { return begin() + size_; }

 private:
  struct Delete {
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t(kLine)); }
  };
  std::unique_ptr<std::byte, Delete> data_;
  std::size_t size_;
};

/// The minimum of work: aligns the cursor and checks nothing. The cursor is in memory, as in any
/// program with calls between two takes.
class NaiveBump {
 public:
  explicit NaiveBump(std::size_t bytes) : buffer_(bytes), head_(buffer_.begin()) {}

  void* take(std::size_t bytes) {
    const std::uintptr_t at = (head_.load(std::memory_order_relaxed) + (kLine - 1)) & ~(kLine - 1);
    head_.store(at + bytes, std::memory_order_relaxed);
    return reinterpret_cast<void*>(at);
  }
  void end_token() { head_.store(buffer_.begin(), std::memory_order_relaxed); }

 private:
  Buffer buffer_;
  std::atomic<std::uintptr_t> head_;
};

/// The minimum of work with a check. The head is always a multiple of 64, because every size is
/// rounded up. The addition may wrap. The dependency from take to take is shorter than in the naive
/// bump.
class RoundedBump {
 public:
  explicit RoundedBump(std::size_t bytes)
      : buffer_(bytes), head_(buffer_.begin()), limit_(buffer_.end()) {}

  void* take(std::size_t bytes) {
    const std::uintptr_t head = head_.load(std::memory_order_relaxed);
    const std::uintptr_t next = head + ((bytes + (kLine - 1)) & ~(kLine - 1));
    if (next > limit_.load(std::memory_order_relaxed)) [[unlikely]]
      return nullptr;
    head_.store(next, std::memory_order_relaxed);
    return reinterpret_cast<void*>(head);
  }
  void end_token() { head_.store(buffer_.begin(), std::memory_order_relaxed); }

 private:
  Buffer buffer_;
  std::atomic<std::uintptr_t> head_;
  std::atomic<std::uintptr_t> limit_;
};

/// Aligns and moves the head by compare-and-exchange, as the Rust crate unimem does.
class CompareExchangeBump {
 public:
  explicit CompareExchangeBump(std::size_t bytes) : buffer_(bytes), head_(buffer_.begin()) {}

  void* take(std::size_t bytes) {
    std::uintptr_t head = head_.load(std::memory_order_relaxed);
    for (;;) {
      const std::uintptr_t at = (head + (kLine - 1)) & ~(kLine - 1);
      const std::uintptr_t next = at + bytes;
      if (next > buffer_.end()) [[unlikely]]
        return nullptr;
      if (head_.compare_exchange_weak(head, next, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        return reinterpret_cast<void*>(at);
      }
    }
  }
  void end_token() { head_.store(buffer_.begin(), std::memory_order_release); }

 private:
  Buffer buffer_;
  std::atomic<std::uintptr_t> head_;
};

/// std::pmr's arena, without the virtual call.
class MonotonicDirect {
 public:
  explicit MonotonicDirect(std::size_t bytes)
      : buffer_(bytes), resource_(buffer_.data(), buffer_.size()) {}

  void* take(std::size_t bytes) { return resource_.take(bytes); }
  void end_token() { resource_.release(); }

 private:
  struct Resource : std::pmr::monotonic_buffer_resource {
    Resource(void* memory, std::size_t bytes)
        : monotonic_buffer_resource(memory, bytes, std::pmr::null_memory_resource()) {}
    // A qualified call is not virtual, so it is inlined.
    void* take(std::size_t bytes) { return monotonic_buffer_resource::do_allocate(bytes, kLine); }
  };
  Buffer buffer_;
  Resource resource_;
};

/// Calls a std::pmr resource as containers do. The compiler cannot know which resource it is.
class Virtual {
 public:
  explicit Virtual(std::pmr::memory_resource& resource) : resource_(&resource) {
    asm volatile("" : "+r"(resource_));
  }

  void* take(std::size_t bytes) { return resource_->allocate(bytes, kLine); }

 private:
  std::pmr::memory_resource* resource_;
};

class MonotonicVirtual {
 public:
  explicit MonotonicVirtual(std::size_t bytes)
      : buffer_(bytes),
        resource_(buffer_.data(), buffer_.size(), std::pmr::null_memory_resource()),
        virtual_(resource_) {}

  void* take(std::size_t bytes) { return virtual_.take(bytes); }
  void end_token() { resource_.release(); }

 private:
  Buffer buffer_;
  std::pmr::monotonic_buffer_resource resource_;
  Virtual virtual_;
};

/// A general-purpose heap. At the end of the token each block is freed, in the order of allocation.
template <class Calls>
class Heap {
 public:
  explicit Heap(std::size_t takes, Calls calls = {}) : calls_(calls), blocks_(takes) {}

  void* take(std::size_t bytes) { return blocks_[count_++] = calls_.allocate(bytes); }
  void end_token() {
    for (std::size_t i = 0; i < count_; ++i) calls_.free(blocks_[i]);
    count_ = 0;
  }

 private:
  Calls calls_;
  std::vector<void*> blocks_;
  std::size_t count_ = 0;
};

/// The usual calls, with 16-byte alignment.
struct Malloc {
  void* allocate(std::size_t bytes) const { return std::malloc(bytes); }
  void free(void* block) const { std::free(block); }
};
struct AlignedMalloc : Malloc {
  void* allocate(std::size_t bytes) const { return std::aligned_alloc(kLine, bytes); }
};
struct Mimalloc {
  heaps::Mimalloc mi = heaps::mimalloc();
  void* allocate(std::size_t bytes) const { return mi.malloc(bytes); }
  void free(void* block) const { mi.free(block); }
};
struct AlignedMimalloc : Mimalloc {
  void* allocate(std::size_t bytes) const { return mi.malloc_aligned(bytes, kLine); }
};

#if defined(TAPEDECK_BENCH_PROTOBUF)
class ProtobufArena {
 public:
  explicit ProtobufArena(std::size_t bytes) : buffer_(bytes), arena_(options(buffer_)) {}

  void* take(std::size_t bytes) { return arena_.AllocateAligned(bytes, kLine); }
  void end_token() { arena_.Reset(); }

 private:
  static google::protobuf::ArenaOptions options(const Buffer& buffer) {
    google::protobuf::ArenaOptions result;
    result.initial_block = reinterpret_cast<char*>(buffer.data());
    result.initial_block_size = buffer.size();
    return result;
  }
  Buffer buffer_;
  google::protobuf::Arena arena_;
};
#endif

#if defined(TAPEDECK_BENCH_LLVM)
class LlvmBump {
 public:
  void* take(std::size_t bytes) { return bump_.Allocate(bytes, llvm::Align(kLine)); }
  void end_token() { bump_.Reset(); }

 private:
  // One slab holds a whole token. Reset() keeps it, so every take is on the fast path.
  llvm::BumpPtrAllocatorImpl<llvm::MallocAllocator, std::size_t{1} << 24> bump_;
};
#endif

}  // namespace peers
