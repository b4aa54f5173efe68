#include "tapedeck/base/dtype.hpp"
#include "base/most.hpp"

#include <gtest/gtest.h>

#include <cctype>
#include <cstdint>
#include <map>
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

// The facts sheet of the ggml types: bytes of a block, and its elements.
TEST(DType, BlocksAreThoseOfGgml) {
  const std::map<std::string_view, std::pair<std::uint32_t, std::uint32_t>> blocks = {
      {"f32", {4, 1}},        {"f16", {2, 1}},       {"bf16", {2, 1}},     {"i16", {2, 1}},
      {"i8", {1, 1}},         {"i32", {4, 1}},       {"i64", {8, 1}},      {"f64", {8, 1}},
      {"q4_0", {18, 32}},     {"q4_1", {20, 32}},    {"q5_0", {22, 32}},   {"q5_1", {24, 32}},
      {"q8_0", {34, 32}},     {"q8_1", {36, 32}},    {"iq4_nl", {18, 32}}, {"mxfp4", {17, 32}},
      {"q2_k", {84, 256}},    {"q3_k", {110, 256}},  {"q4_k", {144, 256}}, {"q5_k", {176, 256}},
      {"q6_k", {210, 256}},   {"q8_k", {292, 256}},  {"tq1_0", {54, 256}}, {"tq2_0", {66, 256}},
      {"iq2_xxs", {66, 256}}, {"iq2_xs", {74, 256}}, {"iq2_s", {82, 256}}, {"iq3_xxs", {98, 256}},
      {"iq3_s", {110, 256}},  {"iq1_s", {50, 256}},  {"iq1_m", {56, 256}}, {"iq4_xs", {136, 256}},
      {"nvfp4", {36, 64}},    {"q1_0", {18, 128}},   {"q2_0", {18, 64}}};
  for (const auto& [name, block] : blocks) {
    const auto type = dtype_from_name(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_EQ(traits(*type).block_bytes, block.first) << name;
    EXPECT_EQ(traits(*type).block_elements, block.second) << name;
  }
}

TEST(DType, NumbersAreThoseOfGgml) {
  const std::map<std::uint32_t, DType> known = {
      {0, DType::f32},      {1, DType::f16},     {2, DType::q4_0},     {3, DType::q4_1},
      {6, DType::q5_0},     {7, DType::q5_1},    {8, DType::q8_0},     {9, DType::q8_1},
      {10, DType::q2_k},    {11, DType::q3_k},   {12, DType::q4_k},    {13, DType::q5_k},
      {14, DType::q6_k},    {15, DType::q8_k},   {16, DType::iq2_xxs}, {17, DType::iq2_xs},
      {18, DType::iq3_xxs}, {19, DType::iq1_s},  {20, DType::iq4_nl},  {21, DType::iq3_s},
      {22, DType::iq2_s},   {23, DType::iq4_xs}, {24, DType::i8},      {25, DType::i16},
      {26, DType::i32},     {27, DType::i64},    {28, DType::f64},     {29, DType::iq1_m},
      {30, DType::bf16},    {34, DType::tq1_0},  {35, DType::tq2_0},   {39, DType::mxfp4},
      {40, DType::nvfp4},   {41, DType::q1_0},   {42, DType::q2_0}};
  for (std::uint32_t number = 0; number < 256; ++number) {
    const auto at = known.find(number);
    EXPECT_EQ(dtype_from_ggml(number), at == known.end() ? std::nullopt : std::optional(at->second))
        << number;
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
