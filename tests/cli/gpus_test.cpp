// SPDX-License-Identifier: Apache-2.0
// tapedeck gpus, and fit for these GPUs: without a GPU, and on the stand-in driver.
#include <gmock/gmock.h>

#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "tapedeck/device/cuda_device.hpp"

namespace tapedeck::tests {
namespace {

TEST(Gpus, WithoutOneItSaysWhy) {
  const CudaSupport support = CudaDevice::support();
  if (support.devices != 0) GTEST_SKIP() << "there are GPUs here";
  const Ran text = run({"gpus"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, support.why + "\n");
  const Json json = json_of({"gpus"});
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_TRUE(json.at("gpus").empty());
  EXPECT_EQ(json.at("why"), support.why);
}

#ifdef TAPEDECK_WITH_CUDA
/// Programs that this process starts find the stand-in's libcuda.so.1 first.
class OnStandIn : public ::testing::Test {
 protected:
  const Variable path_{"LD_LIBRARY_PATH", built_path("stand_in").string()};
};

TEST_F(OnStandIn, ListsIt) {
  const Ran text = run({"gpus"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out,
              Like("CUDA driver 13.0\n0: stand-in, 64 MiB free of 64 MiB, pages of 2 MiB, *\n"));
  const Json json = json_of({"gpus"});
  ASSERT_EQ(json.at("gpus").size(), 1U);
  const Json& gpu = json.at("gpus")[0];
  EXPECT_EQ(gpu.at("usable"), true);
  EXPECT_EQ(gpu.at("name"), "stand-in");
  EXPECT_EQ(gpu.at("total"), 64 << 20);
  EXPECT_EQ(gpu.at("granularity"), 2 << 20);
}

TEST_F(OnStandIn, FitUsesTheGpuUnlessOptionsDescribeAnother) {
  const auto device_of = [](const Words& more) {
    return json_of(joined({"fit", made_large()}, more)).at("device");
  };
  const Json here = device_of({});
  EXPECT_EQ(here.at("free"), 64 << 20);
  EXPECT_EQ(here.at("name"), "stand-in 0");
  EXPECT_GT(here.at("bus_bytes_per_second"), 1e6);
  const Json told = device_of({"--gpu-memory", "1GiB"});
  EXPECT_EQ(told.at("free"), 1 << 30);
  EXPECT_TRUE(told.at("bus_bytes_per_second").is_null());
  const Json bus = device_of({"--bus", "1234", "--gpu", "0", "--tokens-per-second", "1e-3"});
  EXPECT_EQ(bus.at("name"), "stand-in 0");
  EXPECT_EQ(bus.at("bus_bytes_per_second"), 1234.0);
}

// How much of the device vLLM may use follows from what is free of it.
TEST_F(OnStandIn, FlagsForVllmHaveTheShareOfTheGpu) {
  const TempFolder folder;
  const std::string model = folder.write("m.gguf", gguf_model().bytes());
  EXPECT_EQ(run({"fit", model, "--print-flags", "vllm"}).out,
            "--max-model-len 1024 --max-num-seqs 1 --max-num-batched-tokens 512 "
            "--gpu-memory-utilization 1.00\n");
}
#endif

}  // namespace
}  // namespace tapedeck::tests
