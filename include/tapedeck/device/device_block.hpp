// SPDX-License-Identifier: Apache-2.0
/// @file
/// `DeviceBlock`: a contiguous range of device addresses, and the pages that back it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/device/device.hpp"
#include "tapedeck/device/page_pool.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

struct DeviceBlockOptions {
  /// Hooks for NCCL or RDMA registration. `on_commit` is called with each range when it becomes
  /// usable, `on_decommit` with the same range before it is released. A decommit that cuts through
  /// a range announces only the end of it, and the rest later. `on_commit` may throw, which undoes
  /// that commit; `on_decommit` must not throw.
  std::function<void(std::span<std::byte>)> on_commit{};
  std::function<void(std::span<std::byte>)> on_decommit{};
};

/// A range of device addresses with a usable prefix. Committing more of a growing block maps pages
/// from a pool; the memory that was usable before keeps its address and contents.
///
/// A block that was moved from, or created without memory, has no bytes. `part`, and `commit` of
/// more than 0 bytes, then throw WrongState with the state `empty`.
///
/// Thread-safety: one thread at a time, except `data()` and `size()`.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// HostDevice device;
/// PagePool pool(device);
/// DeviceBlock keys = DeviceBlock::reserve(pool, 64_MiB);
/// keys.commit(100);
/// assert(keys.committed() == pool.page_bytes());
/// @endcode
class DeviceBlock {
 public:
  /// Creates a block without memory: `size() == 0`.
  DeviceBlock() noexcept;
  DeviceBlock(DeviceBlock&&) noexcept;
  DeviceBlock& operator=(DeviceBlock&&) noexcept;
  /// @pre no work on a stream uses the memory any more.
  ~DeviceBlock();

  /// Reserves addresses (`bytes` rounded up to pages of the pool) and commits nothing.
  /// @pre the pool outlives the block.
  /// @throws InvalidArgument for 0 bytes, or for more than can be rounded up; DeviceError.
  [[nodiscard]] static DeviceBlock reserve(PagePool& pool, std::size_t bytes,
                                           DeviceBlockOptions options = {});

  /// Allocates plain device memory. All of it is committed and stays committed.
  /// @pre the device outlives the block.
  /// @throws InvalidArgument for 0 bytes; DeviceError.
  [[nodiscard]] static DeviceBlock allocate(Device& device, std::size_t bytes,
                                            DeviceBlockOptions options = {});

  /// Uses memory that the caller owns, such as an engine's own cudaMalloc. All of it is committed.
  /// @pre the device and the memory outlive the block.
  [[nodiscard]] static DeviceBlock borrow(Device& device, std::span<std::byte> memory);

  /// Returns a block over `[offset, offset + bytes)` of this block, with the same options and a
  /// committed prefix of its own. This block keeps the addresses, must outlive the part, and must
  /// not commit into it.
  /// @pre no byte of the range is committed or belongs to another part.
  /// @throws InvalidArgument for a range outside the block, a range that does not consist of whole
  /// pages, or a block that does not grow.
  [[nodiscard]] DeviceBlock part(std::size_t offset, std::size_t bytes);

  [[nodiscard]] std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;       ///< Reserved bytes.
  [[nodiscard]] std::size_t committed() const noexcept;  ///< Usable bytes, from the start.
  /// The pool's page size in bytes, the unit of commits; 0 if the block does not grow.
  [[nodiscard]] std::size_t page_bytes() const noexcept;

  /// Makes at least the first `bytes` usable. Do not call it inside a pass or while a graph is
  /// being captured.
  /// @throws InvalidArgument beyond `size()`; DeviceError; whatever `on_commit` throws. On any
  /// error the block is unchanged.
  void commit(std::size_t bytes);

  /// Returns the pages from `keep` (rounded up to pages) on to the pool and keeps the addresses. If
  /// `after` is given, it first waits for that event, since unmapping is not ordered by streams.
  /// Returns the number of bytes given back, 0 for a block that does not grow.
  /// @pre no work on a stream uses the memory once `after`, if given, has fired.
  /// @throws DeviceError if waiting for the event fails; the block is then unchanged.
  std::size_t decommit(std::size_t keep, EventHandle after = nullptr);

 private:
  struct State;
  explicit DeviceBlock(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
