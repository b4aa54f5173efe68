// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/certainty.hpp"

#include <gtest/gtest.h>

#include <cstdint>

#include "plan/refused.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/engines/llama_cpp/profile.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/plan/tensor_parallel.hpp"

namespace tapedeck::tests {
namespace {

constexpr Certainty kExact = Certainty::exact;
constexpr Certainty kBounded = Certainty::bounded;
constexpr Certainty kEstimated = Certainty::estimated;
constexpr Certainty kUnknown = Certainty::unknown;

Model one_layer_model() { return model_of({attention_layer(4, 4, 64, 128)}); }

/// How the model of one layer is changed, and the parts of its plan.
struct CertaintyRow {
  const char* what;
  void (*change)(Model&, PlanOptions&);
  PlanCertainty parts;
  bool bounded;
};

const CertaintyRow kCertainty[] = {
    {"nothing", [](Model&, PlanOptions&) {}, {kExact, kExact, kExact}, true},
    {"an engine",
     [](Model&, PlanOptions& options) { options.profile = llama_cpp_profile(); },
     {kExact, kExact, kEstimated},
     false},
    {"an assumed shape",
     [](Model& model, PlanOptions&) {
       model.shape.exact_weights = model.shape.exact_caches = false;
     },
     {kEstimated, kEstimated, kEstimated},
     false},
    {"caches that a field may bear on",
     [](Model& model, PlanOptions&) { model.shape.exact_caches = false; },
     {kExact, kEstimated, kEstimated},
     false},
    {"weights that a field may bear on",
     [](Model& model, PlanOptions&) { model.shape.exact_weights = false; },
     {kEstimated, kExact, kEstimated},
     false},
    {"weights without a type",
     [](Model& model, PlanOptions&) { model.shape.dtype.reset(); },
     {kEstimated, kExact, kEstimated},
     false},
    {"an unknown quantization",
     [](Model& model, PlanOptions&) { model.shape.quantization.method = "sorcery"; },
     {kEstimated, kExact, kEstimated},
     false},
    {"unknown weights",
     [](Model& model, PlanOptions&) { model.shape.parameters.clear(); },
     {kUnknown, kExact, kEstimated},
     false},
    {"unknown weights of a type",
     [](Model& model, PlanOptions& options) {
       model.shape.parameters.clear();
       options.weights_type = DType::q8_0;
     },
     {kUnknown, kExact, kEstimated},
     false},
    {"a stated size",
     [](Model& model, PlanOptions& options) {
       model.shape.parameters.clear();
       options.weights_bytes = 1_GiB;
     },
     {kBounded, kExact, kEstimated},
     false},
};

TEST(Certainty, IsSaidOfEachPart) {
  for (const CertaintyRow& row : kCertainty) {
    SCOPED_TRACE(row.what);
    Model model = one_layer_model();
    PlanOptions options;
    row.change(model, options);
    const Plan plan = make_plan(model, options);
    EXPECT_EQ(plan.certainty.weights, row.parts.weights);
    EXPECT_EQ(plan.certainty.caches, row.parts.caches);
    EXPECT_EQ(plan.certainty.compute, row.parts.compute);
    EXPECT_EQ(plan.certainty.is_bounded(), row.bounded);
    EXPECT_EQ(plan.exact(), row.parts.weights == kExact && row.parts.caches == kExact);
    const bool known = row.parts.weights != kUnknown;
    EXPECT_EQ(plan.breakdown().weights.has_value(), known);
    EXPECT_EQ(plan.breakdown().total.has_value(), known);
  }
}

TEST(Certainty, IsBoundedIfEveryPartIs) {
  EXPECT_TRUE((PlanCertainty{kBounded, kBounded, kBounded}).is_bounded());
  EXPECT_FALSE((PlanCertainty{kEstimated, kExact, kExact}).is_bounded());
  EXPECT_FALSE((PlanCertainty{kExact, kEstimated, kExact}).is_bounded());
  EXPECT_FALSE((PlanCertainty{kExact, kExact, kUnknown}).is_bounded());
}

TEST(Certainty, HasAName) {
  EXPECT_STREQ(to_string(kExact), "exact");
  EXPECT_STREQ(to_string(kBounded), "bounded");
  EXPECT_STREQ(to_string(kEstimated), "estimated");
  EXPECT_STREQ(to_string(kUnknown), "unknown");
}

// How a size that was stated for all weights is divided among ranks is not known.
TEST(Certainty, UnknownWeightsAreInNoTotalOfARank) {
  for (const std::uint64_t stated : {std::uint64_t{0}, 1_GiB}) {
    Model model = one_layer_model();
    model.shape.parameters.clear();
    for (const RankBytes& rank : plan_ranks(model, {.weights_bytes = stated}, 2).ranks) {
      EXPECT_FALSE(rank.weights);
      EXPECT_FALSE(rank.total);
      EXPECT_NE(rank.history, 0U);
    }
  }
}

}  // namespace
}  // namespace tapedeck::tests
