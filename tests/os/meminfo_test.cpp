#include "os/meminfo.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <string>

#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "os/vm.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace os = internal::os;
namespace {

TEST(ResidentBytes, IsALineOfTheStatus) {
  const TempFolder root;
  root.write("self/status", "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n");
  EXPECT_EQ(os::resident_bytes({.proc = root.path()}), 2_MiB);
  EXPECT_EQ(os::resident_bytes({.proc = root / "nowhere"}), std::nullopt);
  EXPECT_GT(os::resident_bytes(), 100_KiB);
}

TEST(MeminfoBytes, ReadsALine) {
  const TempFolder root;
  root.write("meminfo",
             "MemTotal:       16384 kB\n"
             "MemAvailable:    8192 kB\n"
             "Hugepagesize:       2048 kB\n"
             "HugePages_Free:        3");
  const KernelRoots roots = {.proc = root.path()};
  EXPECT_EQ(os::meminfo_bytes("MemTotal", roots), 16_MiB);
  EXPECT_EQ(os::meminfo_bytes("MemAvailable", roots), 8_MiB);
  EXPECT_EQ(os::meminfo_bytes("HugePages_Free", roots), 3_KiB);  // the last, without a newline
  EXPECT_EQ(os::meminfo_bytes("Mem", roots), std::nullopt);      // no field of that whole name
  EXPECT_EQ(os::meminfo_bytes("SwapTotal", roots), std::nullopt);
}

TEST(MeminfoBytes, DoesNotMakeUpNumbers) {
  const TempFolder root;
  const KernelRoots roots = {.proc = root.path()};
  EXPECT_EQ(os::meminfo_bytes("MemTotal", roots), std::nullopt);  // no file
  for (const char* text : {"", "\n", "MemTotal:", "MemTotal: kB\n", "MemTotal: -5 kB\n",
                           "MemTotal: 99999999999999999999999 kB\n",
                           "MemTotal: 18446744073709551615 kB\n" /* times 1024 */}) {
    root.write("meminfo", text);
    EXPECT_EQ(os::meminfo_bytes("MemTotal", roots), std::nullopt) << text;
  }
}

// Long files arrive in parts.
TEST(MeminfoBytes, ReadsALongFile) {
  const TempFolder root;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "Field" + std::to_string(i) + ":  " + "1 kB\n";
  root.write("meminfo", text + "MemTotal: 7 kB\n");
  EXPECT_EQ(os::meminfo_bytes("MemTotal", {.proc = root.path()}), 7_KiB);
}

TEST(MeminfoBytes, ReadsTheRealOne) {
  EXPECT_EQ(os::meminfo_bytes("MemTotal"), number_of("/proc/meminfo", "MemTotal:") * 1024);
}

TEST(PageFaults, AreCounted) {
  const os::FaultCount before = os::page_faults();
  const std::size_t bytes = 64 * kPage;
  const os::Mapped mapped = os::reserve(bytes);
  ASSERT_EQ(os::allow_write(mapped.at, bytes), 0);
  static_cast<void>(os::advise(mapped.at, bytes, os::Advice::no_huge_pages));
  for (std::size_t at = 0; at < bytes; at += kPage) mapped.at[at] = std::byte{1};
  EXPECT_GE(os::page_faults().minor, before.minor + 64);
  EXPECT_EQ(os::unmap(mapped.at, bytes), 0);
}

}  // namespace
}  // namespace tapedeck::tests
