// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/plan.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "base/amounts.hpp"
#include "plan/cache_cells.hpp"
#include "plan/name_overflow.hpp"
#include "plan/sizes.hpp"
#include "plan/weights_plan.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI {
namespace {

using internal::CheckedSize;
using internal::fits;
using internal::saturated;

// Returns the bytes from the first to the last byte of the regions of a role.
std::uint64_t extent_of_role(const TapePlan& tape, RegionRole role) noexcept {
  std::uint64_t begin = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t end = 0;
  for (const Region& region : tape.regions()) {
    if (region.role != role) continue;
    begin = std::min(begin, region.offset);
    end = std::max(end, region.offset + region.bytes);
  }
  return end > begin ? end - begin : 0;
}

CheckedSize total_bytes(const Plan& plan) {
  return CheckedSize(plan.weights.payload()) + CheckedSize(plan.history.payload()) * plan.talks +
         plan.scratch.bytes() + plan.overhead;
}

// Takes over what the options state. The rest of the plan fits in 64 bits.
void add_foreign(Plan& plan, const PlanOptions& options) {
  plan.foreign = options.foreign;
  const ForeignMemory sum = sum_of(plan.foreign);
  if (!(total_bytes(plan) + sum.bytes + sum.addresses).value()) {
    throw InvalidArgument({.argument = "PlanOptions::foreign", .value = sum.bytes},
                          "PlanOptions::foreign makes the plan too large for 64 bits",
                          "state smaller sizes");
  }
  for (const ForeignMemory& library : plan.foreign) {
    if (library.addresses == 0) continue;
    plan.warnings.push_back(
        to_iec(library.addresses) + " of addresses (" + library.name +
        ") are not in the total, but become memory where they are touched; if you have measured "
        "how much that is, add it with PlanOptions::foreign");
  }
}

// `assumed` states whether planning the weights added a warning.
Certainty certainty_of_weights(const Model& model, const PlanOptions& options, bool assumed) {
  if (options.weights_bytes != 0) return Certainty::bounded;
  const bool listed = !model.tensors.empty();
  if (!listed && model.shape.parameters.empty()) return Certainty::unknown;
  return (listed || model.shape.exact_weights) && !assumed ? Certainty::exact
                                                           : Certainty::estimated;
}

PlanCertainty certainty_of(const Model& model, const PlanOptions& options, bool assumed) {
  PlanCertainty out = {.weights = certainty_of_weights(model, options, assumed)};
  if (!model.shape.exact_caches) out.caches = Certainty::estimated;
  // 4-bit weights need a buffer that they are unpacked into.
  const bool known_types = out.weights == Certainty::exact;
  out.compute =
      model.shape.exact() && known_types ? options.profile.scratch_certainty : Certainty::estimated;
  return out;
}

Plan plan_model(const Model& model, const PlanOptions& options) {
  if (model.shape.layers.empty()) {
    throw InvalidArgument({.argument = "ModelShape::layers"},
                          "the model's files do not describe its layers",
                          "plan from a GGUF file, or from a folder with a config.json");
  }
  const Profile& profile = options.profile;
  const internal::CacheCells cells = profile.plan_cells(model.shape, options);
  Plan out;
  out.profile = profile.name;
  out.talks = cells.streams;
  out.context_per_talk = cells.context;
  out.overhead = options.overhead;
  out.weights = internal::plan_weights(model, options, out.warnings);
  out.history = profile.plan_history(model.shape, options, cells);
  profile.plan_scratch(model, options, cells, out);
  static_cast<void>(fits(total_bytes(out)));
  static_cast<void>(fits(CheckedSize(out.history.bytes()) * out.talks));

  // Every assumption made so far has added a warning.
  out.certainty = certainty_of(model, options, !out.warnings.empty());
  add_foreign(out, options);
  if (options.total_context == 0 && out.talks > 1) {
    out.warnings.push_back("the model's context of " +
                           internal::count_of(model.shape.context, "token") + " is divided among " +
                           std::to_string(out.talks) + " sequences, which leaves each " +
                           internal::count_of(out.context_per_talk, "token") +
                           "; set PlanOptions::total_context to give each more");
  }
  const std::uint64_t per_talk = options.total_context / out.talks;
  if (model.shape.context != 0 && per_talk > model.shape.context) {
    out.warnings.push_back("a talk of " + std::to_string(per_talk) + " tokens is longer than the " +
                           std::to_string(model.shape.context) +
                           " that the model was made for; reduce PlanOptions::total_context, or "
                           "check that the engine can extend the model's positions");
  }
  out.warnings.insert(out.warnings.begin(), model.shape.warnings.begin(),
                      model.shape.warnings.end());
  return out;
}

// The overhead comes first, so that it is named only if the plan fits without it. A batch is not
// listed, because it matters only as the limit of a micro-batch.
constexpr std::array<internal::SizeOption<PlanOptions>, 8> kPlanSizes = {{
    {"PlanOptions::overhead", &PlanOptions::overhead, 0},
    {"PlanOptions::weights_bytes", &PlanOptions::weights_bytes, 0},
    {"PlanOptions::total_context", &PlanOptions::total_context},
    {"PlanOptions::sequences", &PlanOptions::sequences},
    {"PlanOptions::rollback_states", &PlanOptions::rollback_states, 0},
    {"PlanOptions::decode_batch", &PlanOptions::decode_batch},
    {"PlanOptions::micro_batch", &PlanOptions::micro_batch},
    {"PlanOptions::cell_rounding", &PlanOptions::cell_rounding},
}};

}  // namespace

// `plan_model` checked that all sums fit. For a plan made by hand, sums are limited to 64 bits.
Breakdown Plan::breakdown() const noexcept {
  const auto all_talks = [&](RegionRole role) {
    return saturated(CheckedSize(history.payload(role)) * talks);
  };
  Breakdown out;
  const bool known = certainty.weights != Certainty::unknown;
  if (known) out.weights = weights.payload();
  out.kv = all_talks(RegionRole::kv);
  out.window = all_talks(RegionRole::window);
  out.recurrent = all_talks(RegionRole::recurrent);
  out.history = saturated(CheckedSize(out.kv) + out.window + out.recurrent);
  out.decode = extent_of_role(scratch, RegionRole::decode);
  out.prefill = extent_of_role(scratch, RegionRole::prefill);
  out.scratch = scratch.bytes();
  out.overhead = overhead;
  out.foreign = sum_of(foreign).bytes;
  if (known) out.total = saturated(total_bytes(*this) + out.foreign);
  return out;
}

Plan make_plan(const Model& model, const PlanOptions& options) {
  return internal::name_overflow<PlanOptions>(
      options, kPlanSizes, [&](const PlanOptions& given) { return plan_model(model, given); });
}

}  // namespace tapedeck::inline TAPEDECK_ABI
