/// @file
/// `Block`: one contiguous, page-aligned range of addresses, and the pages behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Which pages back a block. `never` and `transparent` are advice to the kernel; `explicit_pages`
/// takes pages from the host's hugetlb pool and falls back to `transparent` where the pool is empty
/// (`Block::unmet` tells).
enum class HugePages : std::uint8_t { never, transparent, explicit_pages };

/// What a child process finds at these addresses after fork: a copy, nothing, or zeros.
enum class OnFork : std::uint8_t { copy, omit, zero };

enum class BlockKind : std::uint8_t { none, anonymous, file, shared, borrowed };

/// Something a block can be asked for and the host may not have.
enum class Wish : std::uint8_t { huge_pages, lock, core_dump, on_fork };
inline constexpr std::size_t kWishes = 4;

/// "huge pages", "lock", "kept out of core dumps", "fork policy".
[[nodiscard]] const char* to_string(Wish wish) noexcept;

/// A wish that was not met.
struct Unmet {
  Wish wish;
  int error;         ///< errno of the call that refused.
  std::string text;  ///< For people: "lock: ENOMEM (asked 64 MiB, limit 8 MiB)".
};

struct BlockOptions {
  HugePages huge_pages = HugePages::transparent;
  bool lock = false;         ///< Keep committed pages in RAM (mlock).
  bool core_dump = true;     ///< False keeps the range out of core dumps.
  bool guard_pages = false;  ///< An inaccessible page at either end: overruns fault at once.
  OnFork on_fork = OnFork::copy;
  /// Called with each range as it becomes usable, and before it goes: for pinning, RDMA or NCCL
  /// registration. `on_commit` may throw, which undoes that commit; `on_decommit` may not.
  std::function<void(std::span<std::byte>)> on_commit{};
  std::function<void(std::span<std::byte>)> on_decommit{};
};

struct WarmProgress {
  std::size_t done;   ///< Bytes.
  std::size_t total;  ///< Bytes.
};

struct WarmOptions {
  unsigned threads = 0;        ///< 0: as many as the machine has, at most 16.
  std::size_t chunk = 32_MiB;  ///< Between two chunks: stop, budget and progress.
  std::stop_token stop{};
  std::function<void(WarmProgress)> progress{};  ///< One call at a time, from any of the threads.
};

enum class WarmEnd : std::uint8_t { complete, stopped, over_budget, failed };

/// What `warm` did. Converts to true when every page was made resident.
struct WarmResult {
  WarmEnd end = WarmEnd::complete;
  std::size_t asked = 0;   ///< Bytes.
  std::size_t warmed = 0;  ///< Bytes of the chunks that were populated.
  /// Bytes really present afterwards (present bits of /proc/self/pagemap); nothing where that
  /// cannot be read.
  std::optional<std::size_t> present{};
  int error = 0;              ///< errno, where `end` is `failed`.
  std::size_t available = 0;  ///< Where `end` is `over_budget`: bytes that were left,
  std::string limit{};        ///< and what bounds them.

  explicit operator bool() const noexcept { return end == WarmEnd::complete; }
};

/// How much of a range is in RAM now. Costs system calls; "nothing" means the kernel did not tell.
struct Residency {
  std::optional<std::size_t> present{};  ///< Bytes in RAM.
  std::optional<std::size_t> huge{};     ///< Bytes of the whole block backed by huge pages.
};

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
  /// @throws InvalidArgument if the range is not committed.
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
