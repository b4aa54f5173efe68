// SPDX-License-Identifier: Apache-2.0
/// @file
/// Finds the choice with a given mode among those that `fit` returned.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "tapedeck/fit/fit.hpp"

namespace tapedeck::tests {

[[nodiscard]] inline FitChoice choice_with_mode(const std::vector<FitChoice>& choices,
                                                FitMode mode) {
  const auto at = std::ranges::find(choices, mode, &FitChoice::mode);
  if (at == choices.end()) throw std::runtime_error("no such mode");
  return *at;
}

}  // namespace tapedeck::tests
