// tapedeck gpus, and fit on them: without a GPU, and on the stand-in of its driver.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"
#include "tapedeck/device/cuda_device.hpp"

namespace tapedeck::tests {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

TEST(Gpus, WithoutOneItSaysWhy) {
  const CudaSupport support = CudaDevice::support();
  if (support.devices != 0) GTEST_SKIP() << "there are GPUs here";
  const Ran text = run({"gpus"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, support.why + "\n");
  const Ran json = run({"gpus", "--json"});
  const Json parsed = Json::parse(json.out);
  EXPECT_EQ(parsed.at("schema"), 1);
  EXPECT_TRUE(parsed.at("gpus").empty());
  EXPECT_EQ(parsed.at("why"), support.why);
}

TEST(Gpus, WordsItDoesNotKnowAreRefused) {
  EXPECT_NE(run({"gpus", "--all"}).exit_code, 0);
  EXPECT_NE(run({"gpus", "0"}).exit_code, 0);
}

TEST(Gpus, AGpuThatIsNotThereIsNoneToFitOn) {
  const std::string model = made_for_plans();
  const Ran ran = run({"fit", model, "--gpu", "77"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.err, HasSubstr("tapedeck: "));
  EXPECT_NE(run({"fit", model, "--gpu", "-1"}).exit_code, 0);
  EXPECT_NE(run({"fit", model, "--gpu", "0", "--gpu-memory", "1G"}).exit_code, 0);
}

#ifdef TAPEDECK_WITH_CUDA
/// What this process starts finds the stand-in's libcuda.so.1 first.
class OnStandIn : public ::testing::Test {
 protected:
  const Variable path_{"LD_LIBRARY_PATH", built_path("stand_in").string()};
};

TEST_F(OnStandIn, ListsIt) {
  const Ran text = run({"gpus"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("CUDA driver 13.0\n0: stand-in, 64 MiB free of 64 MiB"));
  const Json json = Json::parse(run({"gpus", "--json"}).out);
  ASSERT_EQ(json.at("gpus").size(), 1U);
  const Json& gpu = json.at("gpus")[0];
  EXPECT_EQ(gpu.at("usable"), true);
  EXPECT_EQ(gpu.at("name"), "stand-in");
  EXPECT_EQ(gpu.at("total"), 64 << 20);
  EXPECT_EQ(gpu.at("granularity"), 2 << 20);
}

TEST_F(OnStandIn, FitUsesItUnlessItIsToldOtherwise) {
  const std::string model = made_for_plans();
  const Json here = Json::parse(run({"fit", model, "--json"}).out);
  EXPECT_EQ(here.at("device").at("free"), 64 << 20);
  EXPECT_EQ(here.at("device").at("name"), "stand-in 0");
  EXPECT_GT(here.at("device").at("bus_bytes_per_second"), 1e6);
  const Json told = Json::parse(run({"fit", model, "--gpu-memory", "1GiB", "--json"}).out);
  EXPECT_EQ(told.at("device").at("free"), 1 << 30);
  EXPECT_TRUE(told.at("device").at("bus_bytes_per_second").is_null());
  const Json bus = Json::parse(run({"fit", model, "--bus", "1234", "--json"}).out);
  EXPECT_EQ(bus.at("device").at("name"), "stand-in 0");
  EXPECT_EQ(bus.at("device").at("bus_bytes_per_second"), 1234.0);
  EXPECT_EQ(run({"fit", model, "--tokens-per-second", "1e-3"}).exit_code, 0);
  EXPECT_EQ(run({"fit", model, "--gpu", "0"}).exit_code, 0);
}
#endif

}  // namespace
}  // namespace tapedeck::tests
