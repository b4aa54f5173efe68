/// @file
/// The pictures of a report: how each tape went over time, and the phases behind it, as paths and
/// rectangles in a plane of `kWidth` by `kHeight`.
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
inline constexpr std::size_t kMostColumns = 400;  ///< More would be less than a pixel each.

/// The times that are shown, in microseconds.
struct Span {
  std::uint64_t begin = 0;
  std::uint64_t end = 1;  ///< After `begin`.

  /// A time's place in the plane.
  [[nodiscard]] std::uint64_t x(std::uint64_t at) const noexcept;
};
[[nodiscard]] Span span_of(const Recording& recording) noexcept;

/// What a tape came to in some samples, one after the other. Bytes.
struct Column {
  std::uint64_t at = 0;  ///< Of the last of them, microseconds.
  std::uint64_t in_use = 0;
  std::uint64_t committed = 0;
  std::uint64_t peak = 0;
};

/// One tape. The values of a column hold since the one before.
struct Chart {
  Place place{};
  TapeKind tape = TapeKind::weights;
  std::vector<Column> columns{};
  std::uint64_t top = 1;      ///< Bytes at the upper edge.
  bool by_tokens = false;     ///< A planned history: only tokens tell how much of it is in use.
  std::uint64_t planned = 0;  ///< 0: without a plan, or far above all the others.
  std::string in_use_area{};  ///< An SVG path, as the others.
  std::string committed_area{};
  std::string peak_line{};
};

/// Of each tape that has something reserved, or was asked for something.
[[nodiscard]] std::vector<Chart> charts_of(const Recording& recording);

/// A height's place in the plane, whose origin is the upper left.
[[nodiscard]] std::uint64_t y(const Chart& chart, std::uint64_t bytes) noexcept;

/// A phase, or many of one name that are too near to each other to be told apart.
struct Band {
  std::uint64_t x = 0;
  std::uint64_t width = 1;
  std::size_t depth = 0;
  std::size_t name = 0;  ///< Of `PhasesPicture::names`.
};

struct NamedPhase {
  std::string name{};
  std::uint64_t times = 0;
  std::uint64_t total = 0;  ///< Microseconds.
};

struct PhasesPicture {
  std::vector<Band> bands{};        ///< `kWidth` of each depth at most, which are `kDepths`.
  std::vector<NamedPhase> names{};  ///< In the order of their first beginning.
};
inline constexpr std::size_t kDepths = 4;
inline constexpr std::size_t kMostNames = 64;  ///< All others are called "...".

[[nodiscard]] PhasesPicture picture(const std::vector<RecordedPhase>& phases, const Span& span);

}  // namespace tapedeck::internal::report
