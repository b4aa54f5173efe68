/// @file
/// The list of all figures: what each is called, counts and means. Text, JSON and Prometheus are
/// made from it, so a figure that gets a row here is everywhere.
#pragma once

#include <cstdint>
#include <span>

#include "tapedeck/base/abi.hpp"
#include "tapedeck/layout/stat.hpp"

namespace tapedeck {
TAPEDECK_ABI_BEGIN

/// What a figure counts.
enum class StatUnit : std::uint8_t {
  bytes,
  tokens,
  count,         ///< Of things or of events, as `StatField::help` says.
  microseconds,  ///< Time.
  basis_points,  ///< Ten-thousandths of a whole: 1234 are 12.34 %.
};

/// A gauge goes up and down; a counter only up, from 0 when what it is of began.
enum class StatKind : std::uint8_t { gauge, counter };

/// A row of the list: one figure of a struct of them. `Value` is an optional number where a figure
/// may be unknown.
/// @code{.cpp}
/// using namespace tapedeck;
/// Layout layout({.weights = 4_MiB, .scratch = 1_MiB, .history = 2_MiB});
/// const TapeStat weights = layout.stat().weights;
/// for (const StatField<TapeStat>& field : tape_fields()) {
///   std::cout << field.name << ": " << field.of(weights) << '\n';
/// }
/// @endcode
template <class Figures, class Value = std::uint64_t>
struct StatField {
  const char* name;  ///< The member's, or a name of its own where it is computed: "headroom".
  StatUnit unit;
  StatKind kind;
  const char* help;  ///< One sentence.
  Value (*of)(const Figures& figures) noexcept;
  /// Puts a value there, for whoever makes a struct of published figures; nothing where the figure
  /// is computed.
  void (*set)(Figures& figures, Value value) noexcept = nullptr;
};

/// Of one tape, on the host or on a device. Of computed figures: `headroom`, which is reserved and
/// not used, and `unmet_wishes`. These lists hold as long as the program; from any thread.
[[nodiscard]] std::span<const StatField<TapeStat>> tape_fields() noexcept;

/// Of a whole layout, without its tapes and devices.
[[nodiscard]] std::span<const StatField<Stat>> layout_fields() noexcept;

/// Of a layout's part on one device, without its tapes. Computed: `committed`, over its tapes.
[[nodiscard]] std::span<const StatField<DeviceStat>> device_fields() noexcept;

TAPEDECK_ABI_END
}  // namespace tapedeck
