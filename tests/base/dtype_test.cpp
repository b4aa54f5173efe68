// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/base/dtype.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tapedeck::tests {
namespace {

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

TEST(DType, EveryNameIsItsOwnInAnyCase) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kDTypes; ++i) {
    const auto type = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(to_string(type)), type) << to_string(type);
    EXPECT_EQ(dtype_from_name(upper(to_string(type))), type) << to_string(type);
    names.insert(to_string(type));
  }
  EXPECT_EQ(names.size(), kDTypes);
}

TEST(DType, IsKnownByTheNamesOfCommonTools) {
  for (const auto& [name, type] :
       std::vector<std::pair<const char*, DType>>{{"float32", DType::f32},
                                                  {"torch.bfloat16", DType::bf16},
                                                  {"Torch.Float16", DType::f16},
                                                  {"half", DType::f16},
                                                  {"fp8", DType::f8_e4m3},
                                                  {"float8_e5m2", DType::f8_e5m2},
                                                  {"int8", DType::i8},
                                                  {"BOOL", DType::boolean},
                                                  {"F8_E4M3", DType::f8_e4m3},
                                                  {"Q4_K", DType::q4_k}}) {
    EXPECT_EQ(dtype_from_name(name), type) << name;
  }
  for (const char* name : {"", "torch.", "f", "f3", "f323", "q4", "auto", "float 32"}) {
    EXPECT_EQ(dtype_from_name(name), std::nullopt) << name;
  }
}

// From the specification of the ggml types: number, name, bytes of a block, and its elements.
TEST(DType, NumbersAndBlocksAreThoseOfGgml) {
  const std::map<std::uint32_t, DTypeTraits> known = {
      {0, {"f32", 4, 1}},         {1, {"f16", 2, 1}},         {2, {"q4_0", 18, 32}},
      {3, {"q4_1", 20, 32}},      {6, {"q5_0", 22, 32}},      {7, {"q5_1", 24, 32}},
      {8, {"q8_0", 34, 32}},      {9, {"q8_1", 36, 32}},      {10, {"q2_k", 84, 256}},
      {11, {"q3_k", 110, 256}},   {12, {"q4_k", 144, 256}},   {13, {"q5_k", 176, 256}},
      {14, {"q6_k", 210, 256}},   {15, {"q8_k", 292, 256}},   {16, {"iq2_xxs", 66, 256}},
      {17, {"iq2_xs", 74, 256}},  {18, {"iq3_xxs", 98, 256}}, {19, {"iq1_s", 50, 256}},
      {20, {"iq4_nl", 18, 32}},   {21, {"iq3_s", 110, 256}},  {22, {"iq2_s", 82, 256}},
      {23, {"iq4_xs", 136, 256}}, {24, {"i8", 1, 1}},         {25, {"i16", 2, 1}},
      {26, {"i32", 4, 1}},        {27, {"i64", 8, 1}},        {28, {"f64", 8, 1}},
      {29, {"iq1_m", 56, 256}},   {30, {"bf16", 2, 1}},       {34, {"tq1_0", 54, 256}},
      {35, {"tq2_0", 66, 256}},   {39, {"mxfp4", 17, 32}},    {40, {"nvfp4", 36, 64}},
      {41, {"q1_0", 18, 128}},    {42, {"q2_0", 18, 64}},
  };
  for (std::uint32_t number = 0; number < 256; ++number) {
    const std::optional<DType> type = dtype_from_ggml(number);
    const auto at = known.find(number);
    ASSERT_EQ(type.has_value(), at != known.end()) << number;
    if (!type) continue;
    EXPECT_EQ(type, dtype_from_name(at->second.name)) << number;
    EXPECT_EQ(traits(*type).block_bytes, at->second.block_bytes) << number;
    EXPECT_EQ(traits(*type).block_elements, at->second.block_elements) << number;
  }
  EXPECT_EQ(dtype_from_ggml(0xffffffff), std::nullopt);
}

TEST(DType, BytesComeInWholeBlocksAndDoNotOverflow) {
  EXPECT_EQ(bytes_of(DType::q4_0, 0), 0U);
  EXPECT_EQ(bytes_of(DType::q4_0, 4096), 2304U);
  EXPECT_EQ(bytes_of(DType::q4_0, 33), std::nullopt);
  EXPECT_EQ(bytes_of(DType::f6_e2m3, 8), 6U);
  EXPECT_EQ(bytes_of(DType::f4, 7), std::nullopt);
  EXPECT_EQ(bytes_of(DType::u8, kMost), kMost);
  EXPECT_EQ(bytes_of(DType::f16, kMost / 2), kMost - 1);
  EXPECT_EQ(bytes_of(DType::f16, kMost / 2 + 1), std::nullopt);
}

}  // namespace
}  // namespace tapedeck::tests
