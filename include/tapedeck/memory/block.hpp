// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Block`: a contiguous, page-aligned range of addresses, and the pages that back it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/memory/block_options.hpp"
#include "tapedeck/memory/warm.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

enum class BlockKind : std::uint8_t { none, anonymous, file, shared, borrowed };

/// A contiguous, page-aligned range of addresses. Reserving only uses up addresses. Committing
/// makes a longer prefix usable in place; bytes that are already committed never move. Tapes are
/// built over blocks.
///
/// Committed pages may be touched at any time, so a commit must fit into the limits of memory
/// (MemAvailable and the memory cgroups), together with everything that this process has committed
/// and not touched yet. What does not fit is refused, because the kernel would kill the process
/// later. `BlockOptions::overcommit` turns this off. Limits of the address space are reported by
/// their names, too (RLIMIT_AS, RLIMIT_DATA).
///
/// A block that was moved from, or created without memory, has no bytes. Its members that need
/// bytes throw WrongState with the state `empty`; `try_commit` and `lock` return false.
///
/// Thread-safety: one thread at a time, except for `data()`, `size()`, `committed()` and `kind()`.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Block block = Block::reserve(1_GiB, {.core_dump = false});
/// block.commit(64_MiB);                      // data() .. data() + 64 MiB can be used
/// block.data()[0] = std::byte{1};
/// for (const Unmet& wish : block.unmet()) std::puts(wish.text.c_str());
/// block.decommit(4_KiB);                     // returns the pages, keeps the addresses
/// @endcode
class Block {
 public:
  /// Creates a block without memory: `size() == 0`.
  Block() noexcept;
  Block(Block&&) noexcept;
  Block& operator=(Block&&) noexcept;
  ~Block();

  /// Reserves `bytes` (rounded up to pages) of anonymous memory and commits nothing.
  /// @throws InvalidArgument if `bytes` is 0 or cannot be rounded; OutOfMemory beyond a limit of
  /// the address space; SystemError.
  [[nodiscard]] static Block reserve(std::size_t bytes, const BlockOptions& options = {});

  /// Maps a whole file read-only from the shared page cache and commits all of it. Explicit huge
  /// pages and NUMA placement are for memory of the block's own, so `unmet()` then lists them;
  /// transparent huge pages are the file system's to use.
  /// @throws SystemError; FormatError if the file is empty; InvalidArgument if it is not a regular
  /// file.
  [[nodiscard]] static Block map_file(const std::filesystem::path& path,
                                      const BlockOptions& options = {});

  /// Creates shared memory (memfd) that other processes map through `descriptor()`. Nothing is
  /// committed.
  /// @throws InvalidArgument; SystemError.
  [[nodiscard]] static Block create_shared(std::size_t bytes, const BlockOptions& options = {});

  /// Maps shared memory that another process created. The descriptor is duplicated, so the caller
  /// keeps (and closes) its own. The mapping is read-only unless `writable`, and fully committed.
  /// @throws InvalidArgument if the shared memory is empty; SystemError.
  [[nodiscard]] static Block open_shared(int descriptor, bool writable,
                                         const BlockOptions& options = {});

  /// Uses memory that the caller owns, which must outlive the block. The block never frees or
  /// decommits it, and gives the kernel no advice about it. This is how an engine that already has
  /// its memory starts.
  [[nodiscard]] static Block borrow(std::span<std::byte> memory);

  /// Returns a block over `[offset, offset + bytes)` of this block, with the same options and a
  /// committed prefix of its own, so that several regions can grow side by side in one reservation.
  /// This block keeps the addresses, must outlive the part, and must not commit into it. Parts of
  /// borrowed memory are fully committed.
  /// @pre no byte of the range is committed or belongs to another part.
  /// @throws InvalidArgument for a range outside the block, an offset that is not a multiple of the
  /// host's page, or a block that is neither anonymous nor borrowed.
  [[nodiscard]] Block part(std::size_t offset, std::size_t bytes);

  [[nodiscard]] std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;       ///< Reserved bytes.
  [[nodiscard]] std::size_t committed() const noexcept;  ///< Usable bytes, from the start.
  [[nodiscard]] BlockKind kind() const noexcept;
  [[nodiscard]] bool writable() const noexcept;
  /// The page size in bytes that the mapping guarantees: the host's page, or a huge page if
  /// `explicit_pages` was requested and granted.
  [[nodiscard]] std::size_t page_size() const noexcept;
  /// The memfd of a shared block, which the block owns; -1 for other kinds.
  [[nodiscard]] int descriptor() const noexcept;
  /// The requested options that the host did not grant. Since the kernel also reports success for
  /// requests that it does not follow, the block looks at what they did. Whether the kernel uses
  /// transparent huge pages at the first touch depends on the host's settings, which a commit looks
  /// at; `warm` and `lock` look at the pages.
  [[nodiscard]] const std::vector<Unmet>& unmet() const noexcept;

  /// Makes at least the first `bytes` usable. The committed part never shrinks, and nothing moves.
  /// O(1) with system calls; near a limit of memory, O(pages that this process has committed).
  /// @throws InvalidArgument beyond `size()`; OutOfMemory beyond a limit of memory; SystemError;
  /// whatever `on_commit` throws. On any error the block is unchanged.
  void commit(std::size_t bytes);
  /// Like `commit`, but returns false instead of throwing.
  [[nodiscard]] bool try_commit(std::size_t bytes) noexcept;

  /// Returns the pages from `keep` (rounded up to pages) to the committed end to the system and
  /// keeps the addresses. Returns the number of bytes given back, 0 for a borrowed block. A mapped
  /// file, and shared memory created by another process, stay committed: this process drops its
  /// pages, and the next read brings the same bytes back.
  std::size_t decommit(std::size_t keep) noexcept;

  /// Locks the committed pages in RAM, now and after later commits. Returns false if the host
  /// refuses, or if the limits of memory have no room for the pages; `unmet()` then contains the
  /// requested size and the limit.
  bool lock();

  /// Makes the committed pages of `[offset, offset + bytes)` resident, in parallel and without
  /// changing a byte (by MADV_POPULATE_WRITE, or _READ for files; by touching the pages if the
  /// kernel has neither). It checks the memory budget of the host and the cgroup first and before
  /// each step, because a process that exceeds its cgroup's limit is killed by the kernel. What
  /// other threads are warming counts, too; other processes are seen from step to step, and near
  /// the limit the steps are smaller. Borrowed memory that cannot be written is read. If
  /// transparent huge pages were requested, memory of the block's own that the kernel did not put
  /// into them is moved (MADV_COLLAPSE, Linux 6.1); `unmet()` says if it could not. What cannot be
  /// brought in is never a signal: the result has failed, with EACCES for memory without access,
  /// EFAULT behind the end of a mapped file, and ENOMEM for addresses that are not mapped or if
  /// memory ran out.
  /// @throws InvalidArgument if the range is not committed; whatever `options.progress` throws.
  [[nodiscard]] WarmResult warm(std::size_t offset, std::size_t bytes,
                                const WarmOptions& options = {});

  /// Counts the bytes of a range that are in RAM now.
  /// @throws InvalidArgument if the range is outside the block.
  [[nodiscard]] Residency residency(std::size_t offset, std::size_t bytes) const;

 private:
  struct State;
  explicit Block(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
