// SPDX-License-Identifier: Apache-2.0
#include "model/safetensors/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/refusal.hpp"
#include "model/safetensors_bytes.hpp"
#include "model/shared_data.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;
using enum FormatFault;

TEST(Safetensors, AllSharedFilesAreWhatTheirIndexSays) {
  const std::vector<IndexRow> rows = index_of("safetensors");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("safetensors");
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const Model model = read_model(shared_data("safetensors") / row.at("file"));
    EXPECT_EQ(model.format, ModelFormat::safetensors);
    EXPECT_EQ(std::to_string(model.tensors.entries().size()), row.at("tensor_count"));
    EXPECT_EQ(types_of(model.tensors), row.at("dtypes"));
    EXPECT_EQ(std::to_string(model.tensors.bytes()), row.at("data_bytes_stated"));
    ASSERT_EQ(model.tensors.files().size(), 1U);
    const TensorFile& file = model.tensors.files().front();
    EXPECT_EQ(std::to_string(file.size), row.at("bytes"));
    EXPECT_EQ(std::to_string(file.data_begin - 8), row.at("header_bytes"));
    EXPECT_EQ(std::to_string(file.data_end - file.data_begin), row.at("data_bytes_stated"));
    EXPECT_EQ(file.truncated(), row.at("file").find("header-only") != std::string::npos);
  }
}

class SafetensorsFile : public testing::Test {
 protected:
  Model read(const std::string& bytes) {
    return read_model(folder_.write("model.safetensors", bytes));
  }
  std::optional<Refusal> refusal_of_bytes(const std::string& bytes) {
    return refusal_of(folder_.write("bad.safetensors", bytes));
  }
  /// Headers with only these members, with 8 bytes of data.
  void expect_refused(const std::vector<std::pair<std::string, Refusal>>& headers) {
    for (const auto& [members, refusal] : headers) {
      EXPECT_EQ(refusal_of_bytes(safetensors("{" + members + "}", 8)), refusal) << members;
    }
  }

  TempFolder folder_;
};

TEST_F(SafetensorsFile, TellsItsTensors) {
  const std::string header =
      "{" + tensor_json("b", "BF16", "2,3", 5, 17) + "," + tensor_json("a", "U8", "5", 0, 5) + "}";
  const Model model = read(safetensors(header, 17));
  ASSERT_EQ(model.tensors.entries().size(), 2U);
  const TensorEntry& b = model.tensors.entries()[0];  // in the order of the header
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, DType::bf16);
  EXPECT_THAT(b.shape(), ElementsAre(2U, 3U));
  EXPECT_EQ(b.offset, 8 + header.size() + 5);
  EXPECT_EQ(b.bytes, 12U);
  EXPECT_EQ(b.aligned, b.offset % 2 == 0);
  EXPECT_FALSE(model.tensors.truncated());
  EXPECT_EQ(model.tensors.find("a"), &model.tensors.entries()[1]);
}

TEST_F(SafetensorsFile, TellsItsMetadata) {
  const Model model = read(safetensors(R"({"__metadata__":{"format":"pt","a.b":"é"}})"));
  EXPECT_EQ(model.metadata.string("__metadata__.format"), "pt");
  EXPECT_EQ(model.metadata.string("__metadata__.a.b"), "é");
  EXPECT_TRUE(read(safetensors(R"({"__metadata__":null})")).metadata.entries().empty());
}

TEST_F(SafetensorsFile, KnowsEveryDtypeOfTheFormat) {
  for (const auto& [name, bits] : std::vector<std::pair<std::string, std::uint64_t>>{
           {"BOOL", 8},    {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
           {"F8_E8M0", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16},    {"BF16", 16},
           {"I32", 32},    {"U32", 32}, {"F32", 32}, {"F64", 64},    {"I64", 64},
           {"U64", 64},    {"C64", 64}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}}) {
    SCOPED_TRACE(name);
    const Model model = read(safetensors("{" + tensor_json("t", name, "2,4", 0, bits) + "}", bits));
    EXPECT_EQ(model.tensors.bytes(), bits);  // 8 elements
  }
}

TEST_F(SafetensorsFile, ReadsOverFieldsItDoesNotKnow) {
  const Model model = read(safetensors(
      R"({"t":{"x":{"dtype":"F64","shape":[9,9],"y":[[1],{"z":null}]},"dtype":"F32","n":[1,[2]],)"
      R"("s":"text","f":1.5,"b":true,"shape":[2],"data_offsets":[0,8],"m":-1}})",
      8));
  EXPECT_EQ(model.tensors.entries()[0].dtype, DType::f32);
  EXPECT_THAT(model.tensors.entries()[0].shape(), ElementsAre(2U));
}

TEST_F(SafetensorsFile, AHeaderByItselfIsTruncatedAndPartOfTheDataIsBroken) {
  const std::string header = "{" + tensor_json("t", "F32", "2", 0, 8) + "}";
  EXPECT_TRUE(read(safetensors(header)).tensors.truncated());
  const std::uint64_t data = 8 + header.size();
  EXPECT_EQ(refusal_of_bytes(safetensors(header, 7)), (Refusal{data + 7, "the data", cut_off}));
  EXPECT_EQ(refusal_of_bytes(safetensors(header, 9)),
            (Refusal{data + 8, "the data", contradictory}));
}

TEST_F(SafetensorsFile, RefusesHeadersThatAreNoObject) {
  EXPECT_EQ(refusal_of_bytes(safetensors("[]")), (Refusal{8, "the header", wrong_type}));
  EXPECT_EQ(refusal_of_bytes(safetensors("17")), (Refusal{9, "the header", wrong_type}));
  EXPECT_EQ(refusal_of_bytes(safetensors("{} x")), (Refusal{11, "", malformed}));
  EXPECT_EQ(refusal_of_bytes(safetensors("")), (Refusal{8, "", malformed}));
}

TEST_F(SafetensorsFile, RefusesTensorsThatAreNone) {
  expect_refused({
      {R"("t":3)", {14, "t", wrong_type}},
      {R"("t":null)", {16, "t", wrong_type}},
      {R"("t":{})", {14, "t", missing}},
      {R"("t":{"dtype":"F32","shape":[2]})", {39, "t", missing}},
      {R"("t":{"dtype":"F31")", {26, "t", unsupported}},
      {R"("t":{"dtype":"f32")", {26, "t", unsupported}},
      {R"("t":{"dtype":"Q4_0")", {27, "t", unsupported}},
      {R"("t":{"dtype":7)", {23, "t", wrong_type}},
      {R"("t":{"shape":[-1])", {25, "t", wrong_type}},
      {R"("t":{"shape":[1.0])", {26, "t", wrong_type}},
      {R"("t":{"shape":[18446744073709551616])", {43, "t", wrong_type}},
      {R"("t":{"shape":[[1]])", {23, "t", wrong_type}},
      {R"("t":{"shape":{})", {22, "t", wrong_type}},
      {R"("t":{"shape":[1,1,1,1,1,1,1,1,1])", {40, "t", out_of_range}},
      {R"("t":{"data_offsets":[1])", {31, "t", malformed}},
      {R"("t":{"data_offsets":[0,1,2])", {35, "t", malformed}},
      {R"("t":{"dtype":"F32","dtype":"F32")", {34, "t", contradictory}},
      {R"("__metadata__":{"a":1})", {30, "__metadata__", wrong_type}},
      {R"("__metadata__":[])", {24, "__metadata__", wrong_type}},
  });
}

TEST_F(SafetensorsFile, RefusesSizesThatDoNotAgree) {
  const std::string two32 = "4294967296";
  expect_refused({
      {tensor_json("t", "F32", "2", 0, 7), {60, "t", contradictory}},
      {tensor_json("t", "F32", "2", 8, 0), {60, "t", contradictory}},
      {tensor_json("t", "F4", "3", 0, 2), {59, "t", contradictory}},
      {tensor_json("t", "U8", two32 + "," + two32, 0, 0), {79, "t", out_of_range}},
      {tensor_json("t", "F32", "4611686018427387904", 0, 0), {78, "t", out_of_range}},
  });
}

TEST_F(SafetensorsFile, RefusesOverlapsAndHoles) {
  const std::string first = tensor_json("a", "U8", "4", 0, 4) + ",";
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  expect_refused({
      {first + tensor_json("b", "U8", "4", 3, 7), {61, "b", contradictory}},
      {first + tensor_json("b", "U8", "3", 5, 8), {61, "b", contradictory}},
      {tensor_json("a", "U8", "4", 4, 8), {9, "a", contradictory}},
      {first + tensor_json("a", "U8", "4", 4, 8), {61, "a", contradictory}},
      {tensor_json("a", "U8", std::to_string(kMost), 0, kMost), {9, "a", out_of_range}},
  });
}

TEST_F(SafetensorsFile, CutAnywhereItIsRefusedOrTruncated) {
  const std::string header = "{" + tensor_json("t", "F32", "2", 0, 8) + "}  ";
  const std::string bytes = safetensors(header, 8);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto refusal = refusal_of_bytes(bytes.substr(0, length));
    EXPECT_EQ(refusal.has_value(), length != 8 + header.size()) << length;
    EXPECT_LE(refusal ? refusal->offset : 0, length);
  }
}

TEST_F(SafetensorsFile, DeepNestingIsNoStackOverflow) {
  const std::string deep(1'000'000, '[');
  EXPECT_EQ(refusal_of_bytes(safetensors(R"({"t":{"x":)" + deep)),
            (Refusal{1'000'018, "", malformed}));
}

}  // namespace
}  // namespace tapedeck::tests
