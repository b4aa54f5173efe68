// SPDX-License-Identifier: Apache-2.0
/// @file
/// `Certainty`: how far a planned size can be relied on.
#pragma once

#include <cstdint>

#include "tapedeck/base/abi.hpp"

namespace tapedeck::inline TAPEDECK_ABI {

/// How far a size can be relied on, from the most to the least.
enum class Certainty : std::uint8_t {
  exact,      ///< To the byte.
  bounded,    ///< At most this much; also a size that the caller states.
  estimated,  ///< Rests on an assumption, or is only near what an engine takes. May be too small.
  unknown,    ///< No size is known. It is not 0, and it is in no total.
};

/// "exact", "bounded", "estimated", "unknown".
[[nodiscard]] const char* to_string(Certainty certainty) noexcept;

/// The certainty of each part of a plan. A plan composed by hand is what it lists, so it is exact.
/// Thread-safety: a value.
struct PlanCertainty {
  /// From a model's files: of all tensors in them. From a config.json: of the parameters, which is
  /// what an engine loads. Checkpoints may store more that is computed or shared when a model is
  /// loaded, such as causal masks (GPT-2), rotary frequencies, or a copy of a tied head.
  Certainty weights = Certainty::exact;
  Certainty caches = Certainty::exact;   ///< The history.
  Certainty compute = Certainty::exact;  ///< Scratch.

  /// True if no part can be larger than planned: each is exact or bounded.
  [[nodiscard]] bool is_bounded() const noexcept {
    return weights <= Certainty::bounded && caches <= Certainty::bounded &&
           compute <= Certainty::bounded;
  }

  friend bool operator==(const PlanCertainty&, const PlanCertainty&) = default;
};

}  // namespace tapedeck::inline TAPEDECK_ABI
