// SPDX-License-Identifier: Apache-2.0
/// @file
/// `SharedTape`: a tape with many writers.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/memory/block_tape.hpp"
#include "tapedeck/memory/checking.hpp"
#include "tapedeck/memory/tape.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// A bump allocator that many threads take from at once, by compare-and-exchange. It does not
/// support marks, growth or spilling, and every take uses whole 64-byte lines. Under contention it
/// is many times slower than one `Tape` for each worker, so prefer `Tape::split` if the workers are
/// known in advance.
///
/// Thread-safety: takes and queries from any thread; `clear()` only while no thread takes.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// SharedTape results = SharedTape::start(1_MiB, {.name = "results"});
/// std::jthread worker([&] { (void)results.take<float>(1000); });
/// (void)results.take<float>(1000);
/// worker.join();
/// assert(results.used() == 2 * 4032);  // 4000 bytes are 63 lines
/// results.clear();
/// @endcode
class alignas(kLine) SharedTape : public internal::BlockTape<kLine, Block, TapeOptions>,
                                  public TypedTakes<SharedTape> {
 public:
  SharedTape() noexcept;
  /// @pre no other thread uses `other`.
  SharedTape(SharedTape&& other) noexcept;
  SharedTape& operator=(SharedTape other) noexcept {
    swap(other);  // `other` then destroys the former contents of this tape
    return *this;
  }
  ~SharedTape();

  /// Like `Tape::start`, but commits everything at once.
  /// @throws InvalidArgument, also for the options that a shared tape does not support
  /// (`commit_step`, `spill`); OutOfMemory if the host or the cgroup has no room; SystemError.
  [[nodiscard]] static SharedTape start(std::size_t bytes, TapeOptions options = {});

  /// Like `Tape::over`.
  [[nodiscard]] static SharedTape over(Block block, TapeOptions options = {});

  using TypedTakes::try_take;

  /// Like `Tape::try_take`; lock-free.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t align = kLine) noexcept {
    assert(std::has_single_bit(align));
    watch_.on_shared_write();
    if (align > kLine || internal::checking::kRedZone != 0) [[unlikely]]
      return try_take_aligned(bytes, align);
    std::uintptr_t head = head_.load(std::memory_order_relaxed);
    do {
      if (bytes > end_ - head) [[unlikely]]
        return count_refusal();
    } while (!head_.compare_exchange_weak(head, head + round_up(bytes, kLine),
                                          std::memory_order_relaxed));
    internal::checking::unpoison(head, bytes);
    return reinterpret_cast<void*>(head);
  }

  /// Releases everything. @pre no other thread takes from the tape or uses what it took.
  void clear() noexcept;

 private:
  [[nodiscard]] void* try_take_aligned(std::size_t bytes, std::size_t align) noexcept;
  [[nodiscard]] void* count_refusal() noexcept;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
