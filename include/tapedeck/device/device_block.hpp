/// @file
/// `DeviceBlock`: one contiguous range of a device's addresses, and the pages behind it.
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
  /// Called with each range as it becomes usable, and with the same range before it goes: for NCCL
  /// or RDMA registration. A decommit that cuts through a range announces its end alone, and later
  /// the rest. `on_commit` may throw, which undoes that commit; `on_decommit` may not.
  std::function<void(std::span<std::byte>)> on_commit{};
  std::function<void(std::span<std::byte>)> on_decommit{};
};

/// A range of device addresses, of which a prefix is usable. A growing block maps pages of a pool
/// as it is committed; what was usable before stays where it is, with its bytes.
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
  /// No memory: `size() == 0`.
  DeviceBlock() noexcept;
  DeviceBlock(DeviceBlock&&) noexcept;
  DeviceBlock& operator=(DeviceBlock&&) noexcept;
  /// @pre nothing that was put on a stream uses the memory; so for every decommit.
  ~DeviceBlock();

  /// Reserves addresses (`bytes` rounded up to pages of the pool, which outlives the block) and
  /// commits nothing. @throws InvalidArgument for 0 bytes, or more than can be rounded;
  /// DeviceError.
  [[nodiscard]] static DeviceBlock reserve(PagePool& pool, std::size_t bytes,
                                           DeviceBlockOptions options = {});

  /// Plain memory of the device, which outlives the block: all of it is committed, and stays.
  /// @throws InvalidArgument for 0 bytes; DeviceError.
  [[nodiscard]] static DeviceBlock allocate(Device& device, std::size_t bytes,
                                            DeviceBlockOptions options = {});

  /// Memory that somebody else owns and outlives the block, all of it committed: an engine's own
  /// cudaMalloc.
  [[nodiscard]] static DeviceBlock borrow(Device& device, std::span<std::byte> memory);

  /// A block over `[offset, offset + bytes)` of this one, with this one's options and a committed
  /// prefix of its own. This block keeps the addresses, must outlive the part, and must not commit
  /// into it. @pre nothing of the range is committed, or part of another part.
  /// @throws InvalidArgument for a range outside the block, one that is not in whole pages, or a
  /// block that does not grow.
  [[nodiscard]] DeviceBlock part(std::size_t offset, std::size_t bytes);

  [[nodiscard]] std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;       ///< Reserved bytes.
  [[nodiscard]] std::size_t committed() const noexcept;  ///< Usable bytes, from the start.
  /// Bytes it is committed by: the pool's pages; 0 where it does not grow.
  [[nodiscard]] std::size_t page_bytes() const noexcept;

  /// Makes at least the first `bytes` usable. Never inside a pass, nor while a graph is captured.
  /// @throws InvalidArgument beyond `size()`; DeviceError; whatever `on_commit` throws. On any
  /// error the block is as it was.
  void commit(std::size_t bytes);

  /// Gives the pages from `keep` (rounded up) on back to the pool, and keeps the addresses. Waits
  /// for `after`, where one is given, since unmapping is not ordered by streams. Returns bytes; 0
  /// of a block that does not grow. @throws DeviceError of the event, and the block is as it was.
  std::size_t decommit(std::size_t keep, EventHandle after = nullptr);

 private:
  struct State;
  explicit DeviceBlock(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
