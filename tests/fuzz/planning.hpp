// SPDX-License-Identifier: Apache-2.0
/// @file
/// Plans a model that a reader accepted, in every way that the library offers. A planner may refuse
/// the model with an `Error`, and must do nothing worse, whatever the figures of the file are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "fuzz/checks.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/fit/fit.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/streaming_plan.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::fuzz {

inline void check(const TapePlan& tape) {
  for (const Region& region : tape.regions()) {
    require(region.offset <= tape.bytes() && region.bytes <= tape.bytes() - region.offset);
  }
}

inline void check(const Plan& plan) {
  for (const TapePlan* tape : {&plan.weights, &plan.scratch, &plan.history}) check(*tape);
  const Breakdown sums = plan.breakdown();
  require(sums.total.has_value() == sums.weights.has_value());
  if (!sums.total) return;
  require(*sums.total >= std::max({*sums.weights, sums.history, sums.scratch}));
}

inline void check(const FitChoice& choice) { require(choice.fits() == (choice.shortfall() == 0)); }

/// Calls `ask`, which may refuse the model or the options with an `Error`.
void may_refuse(auto ask) {
  try {
    ask();
  } catch (const Error&) {
    // Refused, which is allowed.
  }
}

/// `fit` makes hundreds of plans, so it gets only the first layers.
inline void check_fit(const Model& model, const PlanOptions& options) {
  constexpr std::size_t kLayers = 2;
  Model top = model;
  top.shape.layers.resize(std::min(top.shape.layers.size(), kLayers));
  const DeviceBudget device = {.free = 1_GiB, .total = 1_GiB, .bus_bytes_per_second = 1e9};
  may_refuse([&] {
    for (const FitChoice& choice : fit(top, options, {.available = 4_GiB}, device)) check(choice);
  });
}

inline void check_plans(const Model& model) {
  constexpr std::uint64_t kContext = 4096;  // if the model states none
  for (const Profile& profile : {native_profile(), llama_cpp_profile()}) {
    for (const DType cache : {DType::f16, DType::q8_0}) {
      PlanOptions options = {.profile = profile, .key_type = cache, .value_type = cache};
      if (model.shape.context == 0) options.total_context = kContext;
      may_refuse([&] { check(make_plan(model, options)); });
      may_refuse([&] { static_cast<void>(plan_ranks(model, options, 2)); });
      if (cache == DType::q8_0) check_fit(model, options);
      options.value_type = DType::f16;  // the only one that every profile has without the following
      options.flash_attention = false;
      may_refuse([&] { check(make_plan(model, options)); });
    }
  }
  may_refuse([&] { check(plan_streaming(model, {}).device); });
}

}  // namespace tapedeck::fuzz
