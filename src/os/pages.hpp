/// @file
/// Where the pages of a range are: in RAM, in swap, on which NUMA node, in the page cache. Every
/// answer may be "unknown".
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
  std::optional<std::size_t> swapped{};
  std::optional<std::size_t> huge{};  ///< Of `present`; kernels before 6.7 do not tell.
};

/// Asks PAGEMAP_SCAN, or, before Linux 6.7, reads an entry for each page.
[[nodiscard]] PageStates page_states(const std::byte* at, std::size_t bytes);

/// Bytes of a file's or shared mapping that are in the page cache (mincore). For files of other
/// owners the kernel says that all of it is, so this is no measure of residency.
[[nodiscard]] std::optional<std::size_t> cached_bytes(std::byte* at, std::size_t bytes);

/// Bytes of the range that huge pages back (/proc/self/smaps); an upper bound where the kernel
/// merged the range with a neighbour.
[[nodiscard]] std::optional<std::size_t> huge_bytes(const std::byte* at, std::size_t bytes);

/// Bytes of the range that were written and are not on disk (/proc/self/smaps); an upper bound as
/// above.
[[nodiscard]] std::optional<std::size_t> dirty_bytes(const std::byte* at, std::size_t bytes);

/// Adds the bytes of a range that are present on each node to `nodes`, by the node's number. False
/// where the kernel does not tell (move_pages).
[[nodiscard]] bool add_node_bytes(std::byte* at, std::size_t bytes,
                                  std::vector<std::uint64_t>& nodes);

/// Bytes of a range of a file that are in the page cache. Asks cachestat (Linux 6.5). The kernel
/// tells it to whoever may write the file, since it is a side channel otherwise.
[[nodiscard]] std::optional<std::uint64_t> cached_file_bytes(int descriptor, std::uint64_t offset,
                                                             std::uint64_t bytes) noexcept;

enum class NodePolicy : std::uint8_t { bind, interleave };

/// Says on which nodes the pages of a range are to be allocated; none of them may be there yet.
/// Gives errno.
[[nodiscard]] int place_on_nodes(std::byte* at, std::size_t bytes, NodePolicy policy,
                                 std::span<const unsigned> nodes);

/// Maps the pages of a range, as reading a byte of each would; but what would be SIGBUS is EFAULT.
/// For kernels without MADV_POPULATE_READ. Gives errno.
[[nodiscard]] int touch_pages(std::byte* at, std::size_t bytes) noexcept;

/// Copies bytes that may be gone, as a mapped file's are when somebody made it shorter: what would
/// be SIGBUS is EFAULT, behind as many bytes as could be read. Where the kernel refuses such copies
/// (process_vm_readv), that holds only of what is gone when it begins.
[[nodiscard]] Transferred copy_readable(std::byte* to, const std::byte* from,
                                        std::size_t bytes) noexcept;

}  // namespace tapedeck::internal::os
