// SPDX-License-Identifier: Apache-2.0
/// @file
/// Where the pages of a range are: in RAM, in swap, on which NUMA node, in the page cache. Any
/// value may be unknown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "os/descriptor.hpp"
#include "tapedeck/base/abi.hpp"

namespace tapedeck::internal::os {

/// Bytes of a range, by the state of their pages.
struct PageStates {
  std::optional<std::size_t> present{};  ///< In RAM. `mincore` would count the page cache instead.
  /// Part of `present`: private memory that was read and never written, or that the kernel dropped,
  /// is one shared page of zeros, and a write allocates another. Unknown before Linux 6.7.
  std::optional<std::size_t> zeros{};
  std::optional<std::size_t> swapped{};
  std::optional<std::size_t> huge{};  ///< Part of `present`; unknown before Linux 6.7.
};

/// Uses PAGEMAP_SCAN, or before Linux 6.7 reads one pagemap entry for each page.
[[nodiscard]] PageStates page_states(const std::byte* at, std::size_t bytes);

/// Whether `mincore` reports a file's pages to this process. To one that neither owns the file nor
/// may write it, the kernel reports every page as cached, even one that is behind the file's end.
/// Of hugetlb pages, it reports those that a mapping has brought in, not those that exist.
[[nodiscard]] bool mincore_reports(int descriptor) noexcept;

/// Bytes of a mapping of a file or of shared memory that are in the page cache (mincore).
/// @pre mincore_reports(descriptor of the file), or the answer may be wrong
[[nodiscard]] std::optional<std::size_t> cached_bytes(std::byte* at, std::size_t bytes) noexcept;

/// Bytes of the range backed by huge pages (/proc/self/smaps). This is an upper bound if the kernel
/// merged the range with a neighboring mapping.
[[nodiscard]] std::optional<std::size_t> huge_bytes(const std::byte* at, std::size_t bytes);

/// Bytes of the range that were written and are not on disk (/proc/self/smaps). This is an upper
/// bound if the kernel merged the range with a neighboring mapping.
[[nodiscard]] std::optional<std::size_t> dirty_bytes(const std::byte* at, std::size_t bytes);

/// Adds the bytes of a range that are present on each node to `nodes`, which is indexed by node
/// number. Returns false if the kernel does not report them (move_pages).
[[nodiscard]] bool add_node_bytes(std::byte* at, std::size_t bytes,
                                  std::vector<std::uint64_t>& nodes);

/// Bytes of a range of a file that are in the page cache: from cachestat (Linux 6.5), or from
/// mincore where that reports the file's pages to this process. The kernel reports them only to the
/// owner of a file and to users who may write it, since it would otherwise be a side channel.
/// Unknown also on file systems that cache files in memory of their own.
[[nodiscard]] std::optional<std::uint64_t> cached_file_bytes(int descriptor, std::uint64_t offset,
                                                             std::uint64_t bytes) noexcept;

enum class NodePolicy : std::uint8_t { bind, interleave };

/// Sets the nodes on which the pages of a range will be allocated. Returns errno.
/// @pre none of the pages is allocated yet.
[[nodiscard]] int place_on_nodes(std::byte* at, std::size_t bytes, NodePolicy policy,
                                 std::span<const unsigned> nodes);

/// Whether the kernel will allocate the page at `at` by this policy and on all of these nodes. It
/// leaves out nodes that do not exist or that the process may not use, without an error; and it may
/// allocate the page on a node that was left out. Unknown if it cannot be asked.
[[nodiscard]] std::optional<bool> is_placed_on(std::byte* at, NodePolicy policy,
                                               std::span<const unsigned> nodes);

}  // namespace tapedeck::internal::os
