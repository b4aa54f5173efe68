// SPDX-License-Identifier: Apache-2.0
/// @file
/// `BlockOptions`: the options of a block, and `Unmet`: an option that the host did not grant.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// Which pages back a block. `never` and `transparent` are advice to the kernel. `explicit_pages`
/// takes pages from the host's hugetlb pool and falls back to `transparent` if the pool is empty;
/// `Block::unmet` then reports it.
enum class HugePages : std::uint8_t { never, transparent, explicit_pages };

/// What a child process sees at these addresses after a fork: a copy, nothing, or zeros.
enum class OnFork : std::uint8_t { copy, omit, zero };

/// A set of NUMA nodes. It holds every number that Linux gives a node.
class NumaNodes {
 public:
  static constexpr unsigned kMost = 1024;

  NumaNodes() noexcept = default;
  /// @throws InvalidArgument for a node of `kMost` or more.
  NumaNodes(std::initializer_list<unsigned> nodes) {
    for (const unsigned node : nodes) insert(node);
  }

  /// @throws InvalidArgument for a node of `kMost` or more.
  void insert(unsigned node);

  [[nodiscard]] bool contains(unsigned node) const noexcept { return node < kMost && nodes_[node]; }
  [[nodiscard]] bool empty() const noexcept { return nodes_.none(); }

 private:
  // Not a vector: GCC 12 warns at -O3 that a vector among the members of a temporary may be
  // uninitialized, in the caller's code.
  std::bitset<kMost> nodes_;
};

/// The NUMA nodes that pages are placed on. The policy is set when pages are committed, before they
/// are first touched.
struct NumaPlacement {
  enum class Policy : std::uint8_t {
    local,       ///< The node of the thread that touches a page first.
    bind,        ///< Only `nodes`.
    interleave,  ///< Round-robin over `nodes`.
  };
  Policy policy = Policy::local;
  NumaNodes nodes{};  ///< If empty, all nodes that this process may use.
};

/// An option that the host may be unable to grant.
enum class Wish : std::uint8_t {
  huge_pages,
  lock,
  core_dump,
  on_fork,
  numa,
  growth,  ///< Talks of a layout that grow without a system call; see `Commit`.
};
inline constexpr std::size_t kWishes = 6;

/// "huge pages", "lock", "kept out of core dumps", "fork policy", "NUMA placement", "growth without
/// system calls".
[[nodiscard]] const char* to_string(Wish wish) noexcept;

/// A requested option that was not granted.
struct Unmet {
  Wish wish;
  int error;         ///< errno of the call; EOPNOTSUPP if it succeeded without an effect.
  std::string text;  ///< For people: "lock: ENOMEM (requested 64 MiB, limit 8 MiB)".
};

struct BlockOptions {
  HugePages huge_pages = HugePages::transparent;
  bool lock = false;  ///< Keep committed pages in RAM (mlock).
  /// Commit more than the limits of memory have room for. By default, a commit that they cannot
  /// hold throws OutOfMemory, because touching its pages would get the process killed. Set this for
  /// memory of which most is never touched.
  bool overcommit = false;
  bool core_dump = true;     ///< False keeps the range out of core dumps.
  bool guard_pages = false;  ///< Puts an inaccessible page at either end; overruns fault at once.
  OnFork on_fork = OnFork::copy;
  NumaPlacement numa{};  ///< For anonymous and shared memory.
  /// Hooks for pinning, and for RDMA or NCCL registration. `on_commit` is called with each range
  /// when it becomes usable, `on_decommit` with the same range before it is released. A decommit
  /// that cuts through a range announces only the end of it, and the rest later. If a registration
  /// cannot be undone in part, commit in steps and decommit only at their borders. `on_commit` may
  /// throw, which undoes that commit; `on_decommit` must not throw.
  std::function<void(std::span<std::byte>)> on_commit{};
  std::function<void(std::span<std::byte>)> on_decommit{};
  /// What errors call the block, such as "tape scratch", which a tape sets itself. Empty: "a
  /// block".
  std::string name{};
};

}  // namespace tapedeck::inline TAPEDECK_ABI
