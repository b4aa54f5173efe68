// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/gguf_bytes.hpp"
#include "model/shared_data.hpp"
#include "os/fault_sweep.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;

constexpr std::uint32_t kQ40 = 2;

TEST(Gguf, AllSharedFilesAreWhatTheirIndexSays) {
  const std::vector<IndexRow> rows = index_of("gguf");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("gguf");
  std::size_t planned = 0;
  for (const IndexRow& row : rows) {
    const std::string& name = row.at("file");
    if (name.find("-of-0") != std::string::npos) continue;  // belongs to the model below
    SCOPED_TRACE(name);
    const Model model = read_model(shared_data("gguf") / name);
    EXPECT_EQ(model.format, ModelFormat::gguf);
    EXPECT_EQ(std::to_string(model.version), row.at("gguf_version"));
    EXPECT_EQ(std::to_string(model.tensors.entries().size()), row.at("tensor_count"));
    EXPECT_EQ(types_of(model.tensors), row.at("tensor_types"));
    EXPECT_EQ(std::to_string(model.tensors.elements()), row.at("elements"));
    ASSERT_EQ(model.tensors.files().size(), 1U);
    const TensorFile& file = model.tensors.files().front();
    EXPECT_EQ(std::to_string(file.size), row.at("bytes"));
    EXPECT_EQ(std::to_string(file.alignment), row.at("alignment"));
    EXPECT_EQ(std::to_string(file.data_begin), row.at("data_start"));
    EXPECT_EQ(std::to_string(file.data_end), row.at("data_end"));
    EXPECT_EQ(file.truncated(), name.find("header-only") != std::string::npos);
    EXPECT_EQ(model.metadata.string("general.architecture").value_or(""), row.at("architecture"));
    const bool twice = row.at("note").find("twice") != std::string::npos ||
                       row.at("note").find("TWICE") != std::string::npos;
    EXPECT_EQ(std::to_string(model.metadata.entries().size() + (twice ? 1 : 0)),
              row.at("kv_count"));
    if (!model.shape.layers.empty()) ++planned;
  }
  EXPECT_EQ(planned, 17U);  // the others are vocabularies, or not language models
}

TEST(Gguf, TheSharedPartsAreOneModelFromEither) {
  const std::filesystem::path folder = shared_data("gguf");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  for (const char* name :
       {"docker-dummy-00001-of-00002.gguf", "docker-dummy-00002-of-00002.gguf"}) {
    const Model model = read_model(folder / name);
    EXPECT_EQ(model.tensors.entries().size(), 10U);
    EXPECT_EQ(types_of(model.tensors), "F32:10");
    EXPECT_EQ(model.tensors.elements(), 183U);
    ASSERT_EQ(model.tensors.files().size(), 2U);
    EXPECT_EQ(model.tensors.files()[0].data_begin, 768U);
    EXPECT_EQ(model.tensors.files()[1].data_begin, 576U);
    EXPECT_EQ(model.tensors.files()[1].data_end, 1424U);
    EXPECT_EQ(model.metadata.entries().size(), 18U);  // those of the first part
    for (const TensorEntry& tensor : model.tensors.entries()) EXPECT_EQ(tensor.file, 1U);
  }
}

TEST(Gguf, EveryValueTypeIsReadInEveryVersion) {
  namespace type = gguf_type;
  const TempFolder folder;
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    SCOPED_TRACE(version);
    GgufBytes file(version);
    file.header(0, 15);
    file.key("u8", type::u8, std::uint8_t{200}).key("i8", type::i8, std::int8_t{-3});
    file.key("u16", type::u16, std::uint16_t{65535}).key("i16", type::i16, std::int16_t{-300});
    file.key("u32", type::u32, std::uint32_t{4'000'000'000});
    file.key("i32", type::i32, std::int32_t{7}).key("f32", type::f32, 0.5F);
    file.key("yes", type::boolean, std::uint8_t{1}).key("text", "hello");
    file.key("u64", type::u64, ~std::uint64_t{0}).key("i64", type::i64, std::int64_t{-5});
    file.key("f64", type::f64, 1e300).strings("kinds", {"full", "", "window"});
    file.array<std::int32_t>("heads", type::i32, {-1, 0, 8});
    file.array<float>("factors", type::f32, {1.0F, 2.5F}).pad();
    const Metadata metadata = read_model(folder.write("model.gguf", file.bytes())).metadata;
    EXPECT_EQ(metadata.entries().size(), 15U);
    EXPECT_EQ(metadata.integer("u8"), 200U);
    EXPECT_EQ(metadata.real("i8"), -3.0);
    EXPECT_EQ(metadata.integer("i8"), std::nullopt);
    EXPECT_EQ(metadata.integer("u16"), 65535U);
    EXPECT_EQ(metadata.real("i16"), -300.0);
    EXPECT_EQ(metadata.integer("u32"), 4'000'000'000U);
    EXPECT_EQ(metadata.integer("i32"), 7U);
    EXPECT_EQ(metadata.real("f32"), 0.5);
    EXPECT_EQ(metadata.boolean("yes"), true);
    EXPECT_EQ(metadata.string("text"), "hello");
    EXPECT_EQ(metadata.integer("u64"), ~std::uint64_t{0});
    EXPECT_EQ(metadata.real("i64"), -5.0);
    EXPECT_EQ(metadata.real("f64"), 1e300);
    EXPECT_THAT(metadata.strings("kinds"), ElementsAre("full", "", "window"));
    EXPECT_THAT(metadata.integers("heads"), ElementsAre(-1, 0, 8));
    EXPECT_EQ(std::get<std::vector<double>>(metadata.find("factors")->value).at(1), 2.5);
  }
}

TEST(Gguf, WhatAPlannerDoesNotNeedIsCountedAndNotKept) {
  namespace type = gguf_type;
  const TempFolder folder;
  GgufBytes file;
  file.header(0, 5);
  file.strings("tokens", std::vector<std::string>(Metadata::kLongestStringArray + 1, "token"));
  file.array("scores", type::f32, std::vector<float>(Metadata::kLongestArray + 1));
  file.array("longest", type::u8, std::vector<std::uint8_t>(Metadata::kLongestArray, 9));
  file.key("template", std::string(Metadata::kLongestString + 1, 'x'));
  file.array<std::uint64_t>("huge", type::u64, {1, ~std::uint64_t{0}});
  const Metadata metadata = read_model(folder.write("model.gguf", file.bytes())).metadata;
  const auto omitted = [&](const char* key) {
    return std::get<Metadata::Omitted>(metadata.find(key)->value).count;
  };
  EXPECT_EQ(omitted("tokens"), Metadata::kLongestStringArray + 1);
  EXPECT_EQ(omitted("scores"), Metadata::kLongestArray + 1);
  EXPECT_EQ(omitted("template"), Metadata::kLongestString + 1);
  EXPECT_EQ(omitted("huge"), 2U);  // does not fit in int64
  EXPECT_EQ(metadata.integers("longest").size(), Metadata::kLongestArray);
}

TEST(Gguf, TensorsAreTurnedRoundAndPlacedInTheFile) {
  const TempFolder folder;
  for (const std::uint32_t version : {1U, 2U, 3U}) {
    SCOPED_TRACE(version);
    GgufBytes file(version);
    file.header(4, 1).key("general.alignment", gguf_type::u32, std::uint32_t{16});
    file.tensor("matrix", {64, 3}, kQ40, 0).tensor("number", {}, kF32, 112);
    file.tensor("none", {0, 5}, kF32, 128).tensor("cube", {2, 3, 4, 5}, kF32, 128).pad(16);
    const std::uint64_t begin = file.at();
    file.zeros(128 + 480);
    const Model model = read_model(folder.write("model.gguf", file.bytes()));
    const TensorEntry& matrix = *model.tensors.find("matrix");
    EXPECT_THAT(matrix.shape(), ElementsAre(3U, 64U));
    EXPECT_EQ(matrix.dtype, DType::q4_0);
    EXPECT_EQ(matrix.bytes, 108U);
    EXPECT_EQ(matrix.offset, begin);
    const TensorEntry& number = *model.tensors.find("number");
    EXPECT_EQ(number.rank, 0U);
    EXPECT_EQ(number.bytes, 4U);
    EXPECT_EQ(number.offset, begin + 112);
    EXPECT_EQ(model.tensors.find("none")->bytes, 0U);
    EXPECT_THAT(model.tensors.find("cube")->shape(), ElementsAre(5U, 4U, 3U, 2U));
    const TensorFile& of = model.tensors.files().front();
    EXPECT_EQ(of.alignment, 16U);
    EXPECT_EQ(of.data_begin, begin);
    EXPECT_EQ(of.data_end, begin + 128 + 480);
    EXPECT_FALSE(of.truncated());
    EXPECT_EQ(model.tensors.find("cub"), nullptr);
  }
}

TEST(Gguf, AFileWithoutPartOfItsDataIsTruncated) {
  const TempFolder folder;
  GgufBytes file;
  file.header(1, 0).tensor("a", {8}, kF32, 0).pad().zeros(31);
  EXPECT_TRUE(read_model(folder.write("a.gguf", file.bytes())).tensors.truncated());
  EXPECT_FALSE(read_model(folder.write("b.gguf", file.zeros(1).bytes())).tensors.truncated());
}

TEST(Gguf, AMisalignedTensorIsReadAndSaysSo) {
  const TempFolder folder;
  GgufBytes file;
  file.header(2, 1).key("general.alignment", gguf_type::u32, std::uint32_t{1});
  file.tensor("byte", {3}, 24, 0).tensor("float", {1}, kF32, 3).zeros(7);
  const Model model = read_model(folder.write("a.gguf", file.bytes()));
  const TensorEntry& misaligned = *model.tensors.find("float");
  EXPECT_EQ(misaligned.aligned, misaligned.offset % 4 == 0);
  EXPECT_TRUE(model.tensors.find("byte")->aligned);
}

TEST(Gguf, OfAKeyThatIsThereTwiceTheFirstValueHoldsWithAWarning) {
  const TempFolder folder;
  GgufBytes file;
  file.header(0, 2).key("general.architecture", "first").key("general.architecture", "second");
  const Model model = read_model(folder.write("a.gguf", file.bytes()));
  EXPECT_EQ(model.metadata.string("general.architecture"), "first");
  EXPECT_THAT(model.shape.warnings,
              ElementsAre("the key general.architecture occurs twice; its first value is used"));
}

TEST(Gguf, EachFailingCallIsTold) {
  const TempFolder folder;
  GgufBytes file;
  file.header(1, 1).key("general.architecture", "x").tensor("a", {8}, kF32, 0).pad().zeros(32);
  const std::filesystem::path path = folder.write("a.gguf", file.bytes());
  const Work work = {
      .run = [&] { return Complaints{std::to_string(read_model(path).tensors.bytes())}; },
      .silent = {"lseek"}};         // holes are then not named
  EXPECT_GE(sweep(work, EIO), 3U);  // at least open, fstat, pread
}

}  // namespace
}  // namespace tapedeck::tests
