// SPDX-License-Identifier: Apache-2.0
// What `plan` and `fit` say of memory that libraries take outside the tapes.
#include <gmock/gmock.h>

#include <cstdint>
#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

class ForeignMemoryOf : public ::testing::Test {
 protected:
  // The results must not depend on a GPU of this machine.
  const Variable no_gpu_{"CUDA_VISIBLE_DEVICES", ""};
  const std::string model_ = made_large();
  const Words foreign_ = {"--foreign-memory", "openblas=8", "--foreign-memory", "2MiB",
                          "--foreign-memory", "onednn=3"};
  const Json stated_ = {
      {{"name", "OpenBLAS, 8 calling threads"}, {"bytes", 0}, {"addresses", 1_GiB}},
      {{"name", "as stated"}, {"bytes", 2_MiB}, {"addresses", 0}},
      {{"name", "oneDNN, 3 int8 executions"}, {"bytes", 4'950'000}, {"addresses", 0}}};
};

TEST_F(ForeignMemoryOf, APlanIsListedAndCounted) {
  const Json without = json_of({"plan", model_});
  EXPECT_EQ(without.at("foreign_memory"), Json::array());
  const Json with = json_of(joined({"plan", model_}, foreign_));
  EXPECT_EQ(with.at("foreign_memory"), stated_);
  EXPECT_EQ(with.at("total").at("bytes").get<std::uint64_t>() - 2_MiB - 4'950'000,
            without.at("total").at("bytes"));
  EXPECT_EQ(with.at("warnings").size(), 1U);
  EXPECT_THAT(
      run(joined({"plan", model_}, foreign_)).out,
      Like("...\noverhead              0 B\n"
           "foreign memory        0 B   OpenBLAS, 8 calling threads; 1 GiB of addresses\n"
           "foreign memory      2 MiB   as stated\n"
           "foreign memory    4.7 MiB   oneDNN, 3 int8 executions\n"
           "total * MiB\n"
           "warning: 1 GiB of addresses (OpenBLAS, 8 calling threads) *--foreign-memory\n"));
}

TEST_F(ForeignMemoryOf, AFitIsTheHosts) {
  const Words budgets = {"fit", model_, "--gpu-memory", "1GiB", "--host-memory", "1GiB"};
  const Json with = json_of(joined(budgets, foreign_));
  EXPECT_EQ(with.at("foreign_memory"), stated_);
  const Json choice = with.at("choices").at(0);
  EXPECT_EQ(choice.at("host").at("needed"), 2_MiB + 4'950'000);
  EXPECT_EQ(choice.at("device").at("needed"),
            json_of(budgets).at("choices").at(0).at("device").at("needed"));
  EXPECT_THAT(run(joined(budgets, foreign_)).out,
              Like("...\nforeign   0 B, OpenBLAS, 8 calling threads; 1 GiB of addresses\n"
                   "foreign   2 MiB, as stated\nforeign   4.7 MiB, oneDNN, 3 int8 executions\n"
                   "warning: *\n\n1. full cache on the device: fits\n    device: *\n"
                   "    host: 6.7 MiB of 1 GiB, 1017.3 MiB left\n..."));
}

}  // namespace
}  // namespace tapedeck::tests
