// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/plan/foreign_memory.hpp"
#include "base/most.hpp"

#include <gmock/gmock.h>

#include <cstdint>
#include <vector>

#include "plan/refused.hpp"
#include "plan/shapes.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/plan/plan.hpp"

namespace tapedeck::tests {
namespace {

Model dense_model() { return model_of({attention_layer(4, 4, 64, 128)}); }

TEST(ForeignMemory, IsWhatIsKnownOfALibrary) {
  const ForeignMemory rows[] = {{"OpenBLAS, 1 calling thread", 0, 128_MiB},
                                {"OpenBLAS, 64 calling threads", 0, 8_GiB},
                                {"oneDNN, 1 int8 execution", 1'650'000, 0},
                                {"oneDNN, 0 int8 executions", 0, 0}};
  EXPECT_EQ(foreign_memory(ForeignLibrary::openblas, 1), rows[0]);
  EXPECT_EQ(foreign_memory(ForeignLibrary::openblas, 64), rows[1]);
  EXPECT_EQ(foreign_memory(ForeignLibrary::onednn, 1), rows[2]);
  EXPECT_EQ(foreign_memory(ForeignLibrary::onednn, 0), rows[3]);
  EXPECT_EQ(refused([] { return foreign_memory(ForeignLibrary::openblas, kMost); }),
            Refused{"foreign memory"});
}

TEST(ForeignMemory, OfAPlanIsInItsTotalAndItsAddressesAreNot) {
  const Plan without = make_plan(dense_model());
  EXPECT_TRUE(without.foreign.empty());
  EXPECT_EQ(without.breakdown().foreign, 0U);

  const std::vector<ForeignMemory> stated = {{.name = "a", .bytes = 1000},
                                             {.name = "b", .bytes = 234, .addresses = 1_GiB}};
  const Plan plan = make_plan(dense_model(), {.foreign = stated});
  EXPECT_EQ(plan.foreign, stated);
  EXPECT_EQ(plan.breakdown().foreign, 1234U);
  EXPECT_EQ(plan.breakdown().total, without.breakdown().total.value() + 1234);
  EXPECT_EQ(plan.breakdown().scratch, without.breakdown().scratch);
  EXPECT_EQ(plan.certainty, without.certainty);
  // Of the addresses, it is not known how many become memory.
  EXPECT_THAT(plan.warnings,
              ::testing::ElementsAre(::testing::StartsWith("1 GiB of addresses (b) ")));
}

TEST(ForeignMemory, ThatIsTooLargeIsRefused) {
  for (const std::vector<ForeignMemory>& stated : {std::vector<ForeignMemory>{{.bytes = kMost}},
                                                   {{.addresses = kMost}},
                                                   {{.bytes = kMost / 2}, {.bytes = kMost / 2 + 1}},
                                                   {{.bytes = kMost}, {.bytes = kMost}}}) {
    EXPECT_EQ(refused([&] { return make_plan(dense_model(), {.foreign = stated}); }).argument,
              "PlanOptions::foreign");
  }
}

}  // namespace
}  // namespace tapedeck::tests
