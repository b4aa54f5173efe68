// SPDX-License-Identifier: Apache-2.0
/// @file
/// The pictures of a report: each tape and the phases over time, as SVG paths and rectangles in a
/// plane of `kWidth` by `kHeight`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/telemetry/recording/recording.hpp"

namespace tapedeck::internal::report {

inline constexpr std::uint64_t kWidth = 1000;
inline constexpr std::uint64_t kHeight = 100;
inline constexpr std::size_t kMostColumns =
    400;  ///< With more, each would be narrower than a pixel.

/// The time that the pictures cover, in microseconds.
struct Span {
  std::uint64_t begin = 0;
  std::uint64_t end = 1;  ///< After `begin`.

  /// The x coordinate of a time.
  [[nodiscard]] std::uint64_t x(std::uint64_t at) const noexcept;
};
[[nodiscard]] Span span_of(const Recording& recording) noexcept;

/// The maximums of a tape over some successive samples, in bytes.
struct Column {
  std::uint64_t at = 0;  ///< Microseconds, of the last of these samples.
  std::uint64_t in_use = 0;
  std::uint64_t committed = 0;
  std::uint64_t peak = 0;
};

/// The chart of one tape. The values of a column are drawn from the column before it up to its own
/// time.
struct Chart {
  Place place{};
  TapeKind tape = TapeKind::weights;
  std::vector<Column> columns{};
  std::uint64_t top = 1;         ///< Bytes at the upper edge.
  bool by_tokens = false;        ///< A planned history, whose use is what its tokens fill.
  std::uint64_t planned = 0;     ///< 0: there is no plan, or it is far above all other values.
  std::string in_use_area{};     ///< An SVG path.
  std::string committed_area{};  ///< An SVG path.
  std::string peak_line{};       ///< An SVG path.
};

/// A chart for each tape for which anything was reserved, taken or requested.
[[nodiscard]] std::vector<Chart> charts_of(const Recording& recording);

/// The y coordinate of a number of bytes. The origin of the plane is its upper left corner.
[[nodiscard]] std::uint64_t y(const Chart& chart, std::uint64_t bytes) noexcept;

/// A phase, or several phases of one name that are too close together to be drawn apart.
struct Band {
  std::uint64_t x = 0;
  std::uint64_t width = 1;
  std::size_t depth = 0;
  std::size_t name = 0;  ///< Index into `PhasesPicture::names`.
};

struct NamedPhase {
  std::string name{};
  std::uint64_t times = 0;
  std::uint64_t total = 0;  ///< Microseconds.
};

struct PhasesPicture {
  std::vector<Band> bands{};        ///< At most `kWidth` for each of `kDepths` depths.
  std::vector<NamedPhase> names{};  ///< In the order in which they first began.
};
inline constexpr std::size_t kDepths = 4;
inline constexpr std::size_t kMostNames =
    64;  ///< All further phases are counted under the name "...".

[[nodiscard]] PhasesPicture picture(const std::vector<RecordedPhase>& phases, const Span& span);

}  // namespace tapedeck::internal::report
