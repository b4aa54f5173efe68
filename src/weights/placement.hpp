/// @file
/// Which way each file's bytes get into memory, and where in the range they come to lie.
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

/// What the choice for a file depends on.
struct WayFacts {
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> cached{};  ///< Bytes in the page cache.
  os::FileSystem file_system{};
  bool misaligned = false;  ///< It has a tensor whose numbers are.
  bool fits = true;         ///< A copy of it would fit in the memory that is left.
  std::string limit{};      ///< What bounds that.
};

struct WayChoice {
  Way way;
  std::string why;
};

/// The way that `Way::automatic` means for a file.
[[nodiscard]] WayChoice choose_way(const WayFacts& facts);

/// Where the files of a model lie.
struct Placement {
  /// A file's share of the range: whole pages, whole huge pages where it is that large.
  struct Share {
    std::uint64_t at = 0;
    std::uint64_t bytes = 0;
  };
  std::vector<WeightsSegment> segments{};
  std::vector<Share> shares{};  ///< By file.
  std::uint64_t bytes = 0;      ///< Of the range.
};

/// Lays out the files one behind the other: each that is mapped as a whole, each that is read as
/// runs of tensors, from the first to the last byte of them. A run lies in memory as it lies in
/// its file, page by page, so that it can be read directly; a tensor which that would misalign
/// begins another run, packed at 64 bytes.
/// @param ways  of the files, none of them `automatic`
/// @param huge_page  where large files begin; 0 where the host has none
/// @param all_huge  all files that are read begin there: they want pages of the host's pool
/// @throws InvalidArgument where all together is more than can be addressed
[[nodiscard]] Placement place_files(const TensorDirectory& directory, std::span<const Way> ways,
                                    std::size_t huge_page, bool all_huge = false);

/// A run that is packed can only be read by buffered reads.
[[nodiscard]] bool is_page_congruent(const WeightsSegment& segment) noexcept;

}  // namespace tapedeck::internal
