// SPDX-License-Identifier: Apache-2.0
/// @file
/// How each file's bytes get into memory, and where in the range they are placed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "os/file.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/model/tensor_directory.hpp"
#include "weights/weights_state.hpp"

namespace tapedeck::internal {

/// The facts about a file that the choice of its `Way` depends on.
struct WayFacts {
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> cached{};  ///< Bytes in the page cache.
  os::FileSystem file_system{};
  bool misaligned = false;  ///< It has a tensor whose numbers are misaligned.
  bool fits = true;         ///< A copy of it would fit in the available memory.
  std::string limit{};      ///< What limits the available memory.
};

struct WayChoice {
  Way way;
  std::string why;
};

/// Chooses what `Way::automatic` means for a file.
[[nodiscard]] WayChoice choose_way(const WayFacts& facts);

/// Where the files of a model are in the range.
struct Placement {
  /// A file's share of the range: whole pages, or whole huge pages if the file is that large.
  struct Share {
    std::uint64_t at = 0;
    std::uint64_t bytes = 0;
  };
  std::vector<WeightsSegment> segments{};
  std::vector<Share> shares{};  ///< One per file.
  std::uint64_t bytes = 0;      ///< Size of the range.
};

/// Places the files one after the other: a mapped file as a whole, a file that is read as runs of
/// tensors, each from its first to its last byte. A run has the same offset within a page in memory
/// as in its file, so that it can be read directly. A tensor which that would misalign begins
/// another run, packed at 64 bytes.
/// @param ways  one per file, none of them `automatic`
/// @param huge_page  the alignment of large files; 0 if the host has no huge pages
/// @param all_huge  align every file that is read: they use pages of the host's pool
/// @throws InvalidArgument if the files have more bytes than can be addressed
[[nodiscard]] Placement place_files(const TensorDirectory& directory, std::span<const Way> ways,
                                    std::size_t huge_page, bool all_huge = false);

/// Whether a segment can be read directly. One that is packed needs buffered reads.
[[nodiscard]] bool is_page_congruent(const WeightsSegment& segment) noexcept;

}  // namespace tapedeck::internal
