/// @file
/// `Block`: one contiguous, page-aligned range of addresses, and the pages behind it.
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

/// One contiguous, page-aligned range of addresses. Reserving costs addresses only; committing
/// makes a prefix usable, in place, and the bytes before it never move. Tapes are laid over blocks.
///
/// Thread-safety: one thread at a time, except `data()`, `size()`, `committed()` and `kind()`.
///
/// @code{.cpp}
/// using namespace tapedeck;
/// Block block = Block::reserve(1_GiB, {.core_dump = false});
/// block.commit(64_MiB);                      // data() .. data() + 64 MiB can be used
/// block.data()[0] = std::byte{1};
/// for (const Unmet& wish : block.unmet()) std::puts(wish.text.c_str());
/// block.decommit(4_KiB);                     // the pages go back, the addresses stay
/// @endcode
class Block {
 public:
  /// No memory: `size() == 0`.
  Block() noexcept;
  Block(Block&&) noexcept;
  Block& operator=(Block&&) noexcept;
  ~Block();

  /// Reserves `bytes` (rounded up to pages) of anonymous memory and commits nothing.
  /// @throws InvalidArgument if `bytes` is 0 or cannot be rounded; SystemError.
  [[nodiscard]] static Block reserve(std::size_t bytes, const BlockOptions& options = {});

  /// Maps a whole file, read-only, from the shared page cache. Everything is committed at once.
  /// Wishes that only make sense for anonymous memory (huge pages) are ignored by the kernel.
  /// @throws SystemError; FormatError if the file is empty; InvalidArgument if it is no regular
  /// file.
  [[nodiscard]] static Block map_file(const std::filesystem::path& path,
                                      const BlockOptions& options = {});

  /// Creates shared memory (memfd) that other processes map through `descriptor()`; commits
  /// nothing.
  /// @throws InvalidArgument; SystemError.
  [[nodiscard]] static Block create_shared(std::size_t bytes, const BlockOptions& options = {});

  /// Maps shared memory another process created. The descriptor is duplicated, so the caller keeps
  /// (and closes) its own. Read-only unless `writable`; all of it is committed.
  /// @throws InvalidArgument if it is empty; SystemError.
  [[nodiscard]] static Block open_shared(int descriptor, bool writable,
                                         const BlockOptions& options = {});

  /// Uses memory that somebody else owns and outlives the block: it is never freed, decommitted or
  /// advised. How an engine that already has its memory starts.
  [[nodiscard]] static Block borrow(std::span<std::byte> memory);

  /// A block over `[offset, offset + bytes)` of this one, with this one's options and a committed
  /// prefix of its own: how regions grow side by side in one reservation. This block keeps the
  /// addresses, must outlive the part, and must not commit into it. Parts of borrowed memory are
  /// committed, as it is.
  /// @pre nothing of the range is committed, or part of another part.
  /// @throws InvalidArgument for a range outside the block, an offset that is no multiple of the
  /// host's page, or a block that is neither anonymous nor borrowed.
  [[nodiscard]] Block part(std::size_t offset, std::size_t bytes);

  [[nodiscard]] std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;       ///< Reserved bytes.
  [[nodiscard]] std::size_t committed() const noexcept;  ///< Usable bytes, from the start.
  [[nodiscard]] BlockKind kind() const noexcept;
  [[nodiscard]] bool writable() const noexcept;
  /// Bytes of the pages that back the block, as far as the mapping fixes them: the host's page, or
  /// a huge page where `explicit_pages` was asked and had.
  [[nodiscard]] std::size_t page_size() const noexcept;
  /// The memfd of a shared block; -1 otherwise. Owned by the block.
  [[nodiscard]] int descriptor() const noexcept;
  /// What was asked and could not be had.
  [[nodiscard]] const std::vector<Unmet>& unmet() const noexcept;

  /// Makes at least the first `bytes` usable; never fewer than before, and nothing moves.
  /// @throws InvalidArgument beyond `size()`; SystemError; whatever `on_commit` throws. On any
  /// error the block is as it was.
  void commit(std::size_t bytes);
  /// As `commit`; false instead of an error.
  [[nodiscard]] bool try_commit(std::size_t bytes) noexcept;

  /// Gives back the pages from `keep` (rounded up to pages) to the committed end and keeps the
  /// addresses. Returns the bytes given back: 0 for a borrowed block. A mapped file, and shared
  /// memory that another process made, stay committed: this process drops its pages, and reading
  /// brings the same bytes back.
  std::size_t decommit(std::size_t keep) noexcept;

  /// Locks the committed pages in RAM, now and after later commits. False where the host refuses;
  /// `unmet()` then says how much was asked and what the limit is.
  bool lock();

  /// Makes the committed pages of `[offset, offset + bytes)` resident, in parallel and without
  /// changing a byte (MADV_POPULATE_WRITE, or _READ for files; touching where the kernel has
  /// neither). Before each chunk the memory budget of host and cgroup is checked, because over a
  /// cgroup's limit the kernel kills instead of refusing.
  /// @throws InvalidArgument if the range is not committed; whatever `options.progress` throws.
  [[nodiscard]] WarmResult warm(std::size_t offset, std::size_t bytes,
                                const WarmOptions& options = {});

  /// Counts what is in RAM now. @throws InvalidArgument if the range is outside the block.
  [[nodiscard]] Residency residency(std::size_t offset, std::size_t bytes) const;

 private:
  struct State;
  explicit Block(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
