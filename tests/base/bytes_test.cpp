// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/bytes.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <clocale>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "os/child.hpp"
#include "os/temp_folder.hpp"

namespace tapedeck::tests {
namespace {

static_assert(0_KiB == 0 && 1_KiB == 1024 && 4_KiB == 4096);
static_assert(1_MiB == 1024_KiB && 1_GiB == 1024_MiB && 1024_GiB == std::size_t{1} << 40);

TEST(ToIec, WritesAtMostOneDecimal) {
  const std::vector<std::pair<std::uint64_t, const char*>> sizes = {
      {0, "0 B"},
      {1, "1 B"},
      {1023, "1023 B"},
      {1024, "1 KiB"},
      {1025, "1 KiB"},
      {1075, "1 KiB"},    // 1.0498
      {1076, "1.1 KiB"},  // 1.0508
      {1536, "1.5 KiB"},
      {10_KiB + 512, "10.5 KiB"},
      {100_KiB, "100 KiB"},
      {64_MiB, "64 MiB"},
      {64_MiB + 52'428, "64 MiB"},
      {64_MiB + 52'429, "64.1 MiB"},
      {std::uint64_t{15} << 60, "15 EiB"},
      {(std::uint64_t{15} << 60) + (std::uint64_t{1} << 59), "15.5 EiB"},
      {kMost, "16 EiB"},
  };
  for (const auto& [bytes, text] : sizes) EXPECT_EQ(to_iec(bytes), text) << bytes;
}

// From 1023.95 on a size is shown in the next unit, because "1024 KiB" should never be shown.
TEST(ToIec, ChangesTheUnitWhereTheNumberWouldRoundTo1024) {
  const std::vector<std::string> units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  for (std::size_t i = 0; i + 1 < units.size(); ++i) {
    const std::uint64_t unit = std::uint64_t{1} << (10 * (i + 1));
    const std::uint64_t border = unit * 1023 + unit / 20 * 19 + unit % 20 * 19 / 20;  // 1023.95
    EXPECT_EQ(to_iec(unit), "1 " + units[i]);
    EXPECT_EQ(to_iec(unit * 1023), "1023 " + units[i]);
    EXPECT_EQ(to_iec(border - unit / 1000), "1023.9 " + units[i]);
    EXPECT_EQ(to_iec(border + unit / 1000), "1 " + units[i + 1]);
    EXPECT_EQ(to_iec(unit * 1024 - 1), "1 " + units[i + 1]);
    EXPECT_EQ(to_iec(unit * 1024), "1 " + units[i + 1]);
  }
  EXPECT_EQ(to_iec(1'048'524), "1023.9 KiB");  // the last byte below 1023.95 KiB
  EXPECT_EQ(to_iec(1'048'525), "1 MiB");
}

// A host program may have called setlocale; the output must not change with it.
TEST(ToIec, WritesAPointInEveryLocale) {
  const TempFolder folder;
  const std::string source = folder.write("source", R"(LC_NUMERIC
decimal_point ","
thousands_sep "."
grouping 3
END LC_NUMERIC
)");
  // Only this category, which is created a hundred times faster than a whole locale.
  const std::string made = folder / "comma";
  const std::string make = "localedef -c --no-archive -f ANSI_X3.4-1968 -i " + source + " " + made;
  // It warns about the other categories.
  static_cast<void>(std::system((make + " >/dev/null 2>&1").c_str()));
  if (!std::filesystem::exists(made + "/LC_NUMERIC"))
    GTEST_SKIP() << "localedef makes nothing here";
  in_child([&] {
    ::setenv("LOCPATH", folder.path().c_str(), 1);
    ASSERT_NE(std::setlocale(LC_NUMERIC, "comma"), nullptr);
    ASSERT_EQ(std::localeconv()->decimal_point, std::string(","));
    EXPECT_EQ(to_iec(1536), "1.5 KiB");
    EXPECT_EQ(to_iec(1024), "1 KiB");
  });
}

}  // namespace
}  // namespace tapedeck::tests
