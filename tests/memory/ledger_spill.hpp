// SPDX-License-Identifier: Apache-2.0
/// @file
/// A spill source that records what it allocated and what was returned, and checks that sizes
/// agree.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <span>

#include "memory/pattern.hpp"
#include "tapedeck/memory/spill_source.hpp"

namespace tapedeck::tests {

/// A source that uses operator new. When it is destroyed, every block must have been returned, with
/// the size and alignment that it was requested with. Thread-safe except for its switches.
class LedgerSpill final : public SpillSource {
 public:
  explicit LedgerSpill(std::size_t limit = std::size_t{1} << 30) noexcept : limit_(limit) {}
  ~LedgerSpill() { EXPECT_EQ(blocks(), 0U) << "spilled blocks were never returned"; }
  LedgerSpill(const LedgerSpill&) = delete;
  LedgerSpill& operator=(const LedgerSpill&) = delete;

  void* allocate(std::size_t bytes, std::size_t align) noexcept override {
    const std::lock_guard lock(mutex_);
    ++asked_;
    if (!open || bytes > limit_ - out_) return nullptr;
    void* block = ::operator new(bytes, std::align_val_t(align), std::nothrow);
    if (block == nullptr) return nullptr;
    out_ += bytes;
    ++given_;
    blocks_[block] = {bytes, align};
    return block;
  }

  void deallocate(void* block, std::size_t bytes, std::size_t align) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(block);
    ASSERT_NE(found, blocks_.end()) << "a block that was never allocated, or was returned before";
    EXPECT_EQ(found->second.bytes, bytes);
    EXPECT_EQ(found->second.align, align);
    if (!secret.empty() && is_in(secret.data(), *found)) {
      EXPECT_TRUE(all_bytes_are(secret.data(), secret.size(), 0)) << "a secret was returned";
      secret = {};
    }
    out_ -= bytes;
    blocks_.erase(found);
    ::operator delete(block, std::align_val_t(align));
  }

  /// Whether an address is in a block that is in use.
  [[nodiscard]] bool holds(const void* at) const {
    const std::lock_guard lock(mutex_);
    return std::any_of(blocks_.begin(), blocks_.end(),
                       [at](const auto& block) { return is_in(at, block); });
  }
  [[nodiscard]] std::size_t blocks() const {  ///< In use now.
    const std::lock_guard lock(mutex_);
    return blocks_.size();
  }
  [[nodiscard]] std::uint64_t asked() const {  ///< Calls of `allocate`.
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  [[nodiscard]] std::uint64_t given() const {  ///< Calls of `allocate` that returned a block.
    const std::lock_guard lock(mutex_);
    return given_;
  }

  bool open = true;                     ///< False: it returns nullptr from now on.
  std::span<const std::byte> secret{};  ///< Must be zeros when its block is returned.

 private:
  struct Figures {
    std::size_t bytes;
    std::size_t align;
  };
  using Blocks = std::map<const void*, Figures>;

  static bool is_in(const void* at, const Blocks::value_type& block) {
    const auto from = reinterpret_cast<std::uintptr_t>(block.first);
    return reinterpret_cast<std::uintptr_t>(at) - from < block.second.bytes;
  }

  mutable std::mutex mutex_;
  Blocks blocks_;
  std::size_t limit_;
  std::size_t out_ = 0;
  std::uint64_t asked_ = 0;
  std::uint64_t given_ = 0;
};

}  // namespace tapedeck::tests
