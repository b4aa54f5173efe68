#include "tapedeck/plan/plan.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "plan/cache_cells.hpp"
#include "plan/sizes.hpp"
#include "plan/weights_plan.hpp"
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

}  // namespace

// `make_plan` checked that all sums fit. For a plan made by hand, sums are limited to 64 bits.
Breakdown Plan::breakdown() const noexcept {
  const auto all_talks = [&](RegionRole role) {
    return saturated(CheckedSize(history.payload(role)) * talks);
  };
  Breakdown out;
  out.weights = weights.payload();
  out.kv = all_talks(RegionRole::kv);
  out.window = all_talks(RegionRole::window);
  out.recurrent = all_talks(RegionRole::recurrent);
  out.history = saturated(CheckedSize(out.kv) + out.window + out.recurrent);
  out.decode = extent_of_role(scratch, RegionRole::decode);
  out.prefill = extent_of_role(scratch, RegionRole::prefill);
  out.scratch = scratch.bytes();
  out.overhead = overhead;
  out.total = saturated(total_bytes(*this));
  return out;
}

namespace {

Plan plan_of(const Model& model, const PlanOptions& options) {
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
  out.exact = model.shape.exact && out.warnings.empty();
  if (options.total_context == 0 && out.talks > 1) {
    out.warnings.push_back("the model's context of " + std::to_string(model.shape.context) +
                           " tokens is divided among " + std::to_string(out.talks) +
                           " sequences, which leaves each " + std::to_string(out.context_per_talk) +
                           " tokens; set total_context to give each more");
  }
  out.warnings.insert(out.warnings.begin(), model.shape.warnings.begin(),
                      model.shape.warnings.end());
  return out;
}

// An option that a plan grows with, and its smallest value.
struct SizeOption {
  const char* name;
  std::uint64_t PlanOptions::*value;
  std::uint64_t least;
};
using SizeOptions = std::vector<SizeOption>;

// The options that could be smaller, the largest first.
SizeOptions reducible_options(const PlanOptions& options) {
  SizeOptions all = {{"PlanOptions::total_context", &PlanOptions::total_context, 1},
                     {"PlanOptions::sequences", &PlanOptions::sequences, 1},
                     {"PlanOptions::decode_batch", &PlanOptions::decode_batch, 1},
                     {"PlanOptions::batch", &PlanOptions::batch, 1},
                     {"PlanOptions::micro_batch", &PlanOptions::micro_batch, 1},
                     {"PlanOptions::cell_rounding", &PlanOptions::cell_rounding, 1},
                     {"PlanOptions::rollback_states", &PlanOptions::rollback_states, 0},
                     {"PlanOptions::overhead", &PlanOptions::overhead, 0}};
  std::erase_if(all, [&](const SizeOption& one) { return options.*one.value <= one.least; });
  std::ranges::stable_sort(all, std::ranges::greater{},
                           [&](const SizeOption& one) { return options.*one.value; });
  return all;
}

bool is_representable(const Model& model, const PlanOptions& options) {
  try {
    static_cast<void>(plan_of(model, options));
    return true;
  } catch (const InvalidArgument&) {
    return false;
  }
}

// The options that a plan overflows because of: each that makes it fit at its smallest value, as
// the factors of a product do; else the largest ones that make it fit together; else none, since
// the model is too large.
SizeOptions overflowing_options(const Model& model, const PlanOptions& options) {
  const SizeOptions all = reducible_options(options);
  SizeOptions factors;
  SizeOptions summands;
  for (const SizeOption& one : all) {
    PlanOptions less = options;
    less.*one.value = one.least;
    if (is_representable(model, less)) factors.push_back(one);
  }
  if (!factors.empty()) return factors;
  PlanOptions less = options;
  for (const SizeOption& one : all) {
    less.*one.value = one.least;
    summands.push_back(one);
    if (is_representable(model, less)) return summands;
  }
  return {};
}

}  // namespace

Plan make_plan(const Model& model, const PlanOptions& options) {
  try {
    return plan_of(model, options);
  } catch (const InvalidArgument& error) {
    if (error.argument() != internal::kThePlan) throw;
    const SizeOptions blamed = overflowing_options(model, options);
    if (blamed.empty()) throw;
    std::string names;
    for (const SizeOption& one : blamed) {
      names += (names.empty() ? " with " : " and ") + std::string(one.name) + " of " +
               std::to_string(options.*one.value);
    }
    const SizeOption& largest = blamed.front();
    throw InvalidArgument({.argument = largest.name, .value = options.*largest.value},
                          std::string(error.message()) + names,
                          blamed.size() == 1 ? "use a smaller value" : "use smaller values");
  }
}

}  // namespace tapedeck::inline TAPEDECK_ABI
