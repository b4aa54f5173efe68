// Where there is no driver that serves.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "os/child.hpp"
#include "tapedeck/device/cuda_device.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A driver that is loaded stays: so each in a child.
void expect_none(const testing::Matcher<const std::string&>& why) {
  const CudaSupport support = CudaDevice::support();
  EXPECT_EQ(support.devices, 0U);
  EXPECT_THAT(support.why, why);
  const auto error = thrown<DeviceUnavailable>([&] { const CudaDevice device; });
  EXPECT_THAT(std::string(error.what()), why);
  EXPECT_NE(error.advice(), "");
}

#ifdef TAPEDECK_WITH_CUDA

// libcuda.so.1 is then looked for among what is loaded, first.
void load(const std::filesystem::path& path) {
  ASSERT_NE(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL), nullptr) << ::dlerror();
}

TEST(CudaSupport, SaysThatThereIsNoDriver) {
  in_child([] {
    if (::dlopen("libcuda.so.1", RTLD_LAZY) != nullptr) return;  // this host has one
    expect_none(AllOf(HasSubstr("libcuda.so.1"), HasSubstr("install NVIDIA's driver")));
    EXPECT_EQ(CudaDevice::support().driver, "");
  });
}

TEST(CudaSupport, NamesWhatADriverLacks) {
  in_child([] {
    load(built_path("partial/libcuda.so.1"));
    expect_none(AllOf(HasSubstr("has no cuDeviceGetCount"), HasSubstr("CUDA 12.0 or later")));
  });
}

// The toolkit's library to link with exports what a driver does, and does nothing: so this finds
// out whether NVIDIA knows all the names that are looked up.
TEST(CudaSupport, FindsAllItsEntryPointsInTheToolkitsStub) {
  const std::filesystem::path stub = built_path("toolkit_stub/libcuda.so");
  if (!std::filesystem::exists(stub)) GTEST_SKIP() << "the toolkit has no stub";
  in_child([&] {
    load(stub);
    expect_none(AllOf(HasSubstr("cuDriverGetVersion failed"), HasSubstr("LD_LIBRARY_PATH")));
  });
}

#else

TEST(CudaSupport, SaysThatThisBuildHasNone) {
  expect_none(AllOf(HasSubstr("this build"), HasSubstr("toolkit"), HasSubstr("TAPEDECK_CUDA")));
  EXPECT_EQ(CudaDevice::support().driver, "");
}

#endif

}  // namespace
}  // namespace tapedeck::tests
