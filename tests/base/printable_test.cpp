// SPDX-License-Identifier: Apache-2.0
#include "base/printable.hpp"

#include <gtest/gtest.h>

#include <string>

namespace tapedeck::tests {
namespace {

using internal::printable;

TEST(Printable, EscapesWhatWouldDriveATerminal) {
  EXPECT_EQ(printable("a\nb\x7f\x1b[2J"), "a\\x0ab\\x7f\\x1b[2J");
  EXPECT_EQ(printable(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\u65E5\u672C \"a\" \\"), "\u65E5\u672C \"a\" \\");
}

// The bytes that must be escaped, and a neighboring character.
TEST(Printable, EscapesWhatTurnsTheDirectionOfWriting) {
  const std::string overrides = {'\xE2', '\x80', '\xAE'};
  const std::string isolates = {'\xE2', '\x81', '\xA6'};
  EXPECT_EQ(printable("a" + overrides + "b" + isolates + "c\u2060"),
            "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6c\u2060");
}

TEST(Printable, CutsALongNameBetweenCharacters) {
  EXPECT_EQ(printable(std::string(128, 'x')), std::string(128, 'x'));
  EXPECT_EQ(printable(std::string(129, 'x')), std::string(128, 'x') + "...");
  // 127 bytes and a character of three bytes.
  EXPECT_EQ(printable(std::string(127, 'x') + "\u65E5"), std::string(127, 'x') + "...");
  EXPECT_EQ(printable(std::string(500, 'x'), std::string::npos), std::string(500, 'x'));
}

}  // namespace
}  // namespace tapedeck::tests
