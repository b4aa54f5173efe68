// SPDX-License-Identifier: Apache-2.0
#include "os/meminfo.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <string>

#include "os/addresses.hpp"
#include "os/proc_text.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
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

TEST(KibOf, ReadsALine) {
  const TempFolder root;
  const std::string text = os::read_text(root.write("meminfo",
                                                    "MemTotal:       16384 kB\n"
                                                    "MemAvailable:    8192 kB\n"
                                                    "Hugepagesize:       2048 kB\n"
                                                    "HugePages_Free:        3"));
  EXPECT_EQ(os::kib_of(text, "MemTotal:"), 16_MiB);
  EXPECT_EQ(os::kib_of(text, "MemAvailable:"), 8_MiB);
  EXPECT_EQ(os::kib_of(text, "HugePages_Free:"), 3_KiB);  // the last line, without a newline
  EXPECT_EQ(os::kib_of(text, "Mem:"), std::nullopt);      // only a part of a field's name
  EXPECT_EQ(os::kib_of(text, "SwapTotal:"), std::nullopt);
}

TEST(KibOf, DoesNotMakeUpNumbers) {
  for (const char* text : {"", "\n", "MemTotal:", "MemTotal: kB\n", "MemTotal: -5 kB\n",
                           "MemTotal: 99999999999999999999999 kB\n",
                           "MemTotal: 18446744073709551615 kB\n" /* times 1024 */}) {
    EXPECT_EQ(os::kib_of(text, "MemTotal:"), std::nullopt) << text;
  }
}

TEST(ReadText, IsEmptyWhereThereIsNoFile) {
  const TempFolder root;
  EXPECT_EQ(os::read_text(root / "meminfo"), "");
}

// A long file is read in parts.
TEST(ReadText, ReadsALongFile) {
  const TempFolder root;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "Field" + std::to_string(i) + ":  " + "1 kB\n";
  text += "MemTotal: 7 kB\n";
  EXPECT_EQ(os::read_text(root.write("meminfo", text)), text);
}

TEST(KibOf, ReadsTheRealOne) {
  EXPECT_EQ(os::kib_of(os::read_text("/proc/meminfo"), "MemTotal:"),
            number_of("/proc/meminfo", "MemTotal:") * 1024);
}

TEST(PageFaults, AreCounted) {
  const os::FaultCount before = os::page_faults();
  const FreshPages pages(64);
  for (std::size_t page = 0; page < 64; ++page) pages.touch(page);
  EXPECT_GE(os::page_faults().minor, before.minor + 64);
}

}  // namespace
}  // namespace tapedeck::tests
