// SPDX-License-Identifier: Apache-2.0
/// @file
/// `TapeKind` and `Place`: which of a layout's tapes is meant, and where it is.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// The three tapes of each side of a layout. Thread-safety: a value.
enum class TapeKind : std::uint8_t { weights, scratch, history };

inline constexpr std::array kTapeKinds = {TapeKind::weights, TapeKind::scratch, TapeKind::history};

/// "weights", "scratch" or "history".
[[nodiscard]] constexpr const char* to_string(TapeKind kind) noexcept {
  constexpr std::array names = {"weights", "scratch", "history"};
  return names[static_cast<std::size_t>(kind)];
}

/// The host, or one of a layout's devices. Thread-safety: a value.
/// @code{.cpp}
/// using namespace tapedeck;
/// assert(to_string(Place::host()) == "host" && to_string(Place::gpu(1)) == "gpu1");
/// assert(Place::gpu(1).device() == 1 && !Place::host().is_device());
/// @endcode
class Place {
 public:
  constexpr Place() noexcept = default;
  [[nodiscard]] static constexpr Place host() noexcept { return {}; }
  /// The device at index `i` of `LayoutOptions::gpus`. @pre i < 255
  [[nodiscard]] static constexpr Place gpu(std::size_t i) noexcept {
    Place place;
    place.index_ = static_cast<std::uint8_t>(i + 1);
    return place;
  }

  [[nodiscard]] constexpr bool is_device() const noexcept { return index_ != 0; }
  /// @pre is_device()
  [[nodiscard]] constexpr std::size_t device() const noexcept { return index_ - std::size_t{1}; }

  friend constexpr auto operator<=>(Place, Place) noexcept = default;

 private:
  std::uint8_t index_ = 0;  // 0 is the host; device i is i + 1
};

[[nodiscard]] inline std::string to_string(Place place) {
  return place.is_device() ? "gpu" + std::to_string(place.device()) : "host";
}

}  // namespace tapedeck::inline TAPEDECK_ABI
