/// @file
/// `BlockOptions`: what a block may be asked for, and `Unmet`: what the host did not have.
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

/// Which pages back a block. `never` and `transparent` are advice to the kernel; `explicit_pages`
/// takes pages from the host's hugetlb pool and falls back to `transparent` where the pool is empty
/// (`Block::unmet` tells).
enum class HugePages : std::uint8_t { never, transparent, explicit_pages };

/// What a child process finds at these addresses after fork: a copy, nothing, or zeros.
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

/// On which NUMA nodes pages come to lie. Set when they are committed, before anybody touches them.
struct NumaPlacement {
  enum class Policy : std::uint8_t {
    local,       ///< The node of the thread that touches a page first.
    bind,        ///< Only `nodes`.
    interleave,  ///< In turn over `nodes`.
  };
  Policy policy = Policy::local;
  NumaNodes nodes{};  ///< Empty: all this process may use.
};

/// Something a block can be asked for and the host may not have.
enum class Wish : std::uint8_t { huge_pages, lock, core_dump, on_fork, numa };
inline constexpr std::size_t kWishes = 5;

/// "huge pages", "lock", "kept out of core dumps", "fork policy", "NUMA placement".
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
  NumaPlacement numa{};  ///< Of anonymous and shared memory.
  /// Called with each range as it becomes usable, and with the same range before it goes: for
  /// pinning, RDMA or NCCL registration. A decommit that cuts through a range announces its end
  /// alone, and later the rest; who cannot take back a part commits by steps and decommits between
  /// them. `on_commit` may throw, which undoes that commit; `on_decommit` may not.
  std::function<void(std::span<std::byte>)> on_commit{};
  std::function<void(std::span<std::byte>)> on_decommit{};
};

}  // namespace tapedeck::inline TAPEDECK_ABI
