#include "tapedeck/model/read_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/thrown.hpp"
#include "model/gguf_bytes.hpp"
#include "model/refusal.hpp"
#include "model/safetensors_bytes.hpp"
#include "model/shared_data.hpp"
#include "os/fault_sweep.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kConfig =
    R"({"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,)"
    R"("intermediate_size":128,"vocab_size":100})";

std::string one_tensor(const std::string& name, std::size_t bytes) {
  return safetensors("{" + tensor_json(name, "U8", std::to_string(bytes), 0, bytes) + "}", bytes);
}

/// Part `number` (from 1) of `count`, with a tensor of its own.
std::string gguf_part(std::uint16_t number, std::uint16_t count, std::int32_t tensors) {
  GgufBytes file;
  file.header(1, number == 1 ? 4 : 2);
  if (number == 1) {
    file.key("general.architecture", "none");
    file.key("split.tensors.count", gguf_type::i32, tensors);
  }
  file.key("split.no", gguf_type::u16, static_cast<std::uint16_t>(number - 1));
  file.key("split.count", gguf_type::u16, count);
  file.tensor("t" + std::to_string(number), {8}, kF32, 0).pad().zeros(32);
  return file.bytes();
}

/// What an InvalidArgument said; empty for anything else.
std::string invalid(const std::filesystem::path& path) {
  try {
    static_cast<void>(read_model(path));
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "";
}

std::vector<std::string> names_of(const TensorDirectory& tensors) {
  std::vector<std::string> names;
  for (const TensorEntry& entry : tensors.entries()) names.emplace_back(entry.name);
  return names;
}

TEST(ReadModel, TellsTheFormatByTheContent) {
  const TempFolder folder;
  const std::string gguf = GgufBytes().header(0, 0).pad().bytes();
  EXPECT_EQ(read_model(folder.write("a.safetensors", gguf)).format, ModelFormat::gguf);
  EXPECT_EQ(read_model(folder.write("b.gguf", one_tensor("t", 8))).format,
            ModelFormat::safetensors);
  EXPECT_EQ(read_model(folder.write("c.bin", kConfig)).format, ModelFormat::config);
  EXPECT_STREQ(to_string(ModelFormat::llama2c), "llama2c");
}

// json.dump of Python writes it, and the config.json of Nemotron-H has it.
TEST(ReadModel, AConfigMayHoldInfinity) {
  const TempFolder folder;
  std::string config = kConfig;
  config.replace(config.size() - 1, 1, R"(,"time_step_limit":[0.0,Infinity]})");
  const Model model = read_model(folder.write("config.json", config));
  EXPECT_EQ(model.format, ModelFormat::config);
  EXPECT_EQ(model.shape.layers.size(), 2U);
}

TEST(ReadModel, EverySharedConfigIsRead) {
  const std::vector<IndexRow> rows = index_of("configs");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("configs");
  for (const IndexRow& row : rows) {
    SCOPED_TRACE(row.at("file"));
    const Model model = read_model(shared_data("configs") / row.at("file"));
    EXPECT_EQ(model.format, ModelFormat::config);
    EXPECT_TRUE(model.tensors.empty());
    EXPECT_FALSE(model.metadata.entries().empty());
  }
}

// The first byte of its length is '{'.
TEST(ReadModel, ASafetensorsFileThatBeginsLikeJsonIsNone) {
  const TempFolder folder;
  std::string header = "{" + tensor_json("t", "U8", "1", 0, 1) + "}";
  header.resize('{', ' ');
  EXPECT_EQ(read_model(folder.write("a", safetensors(header, 1))).format, ModelFormat::safetensors);
}

TEST(ReadModel, RefusesWhatIsNoModel) {
  const TempFolder folder;
  EXPECT_TRUE(refused(folder.write("note", "hello"), 0, "it is no GGUF, safetensors"));
  EXPECT_TRUE(refused(folder.write("empty", ""), 0, "it is no GGUF, safetensors"));
  const std::filesystem::path fifo = folder / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(invalid(fifo), HasSubstr("is not a regular file"));
  const auto error =
      thrown<SystemError>([&] { static_cast<void>(read_model(folder / "missing")); });
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_EQ(error.path(), folder / "missing");
}

TEST(ReadModel, PartsOfASplitModelAreReadFromAnyOfThem) {
  const TempFolder folder;
  const std::string stem = "m-0000";
  for (std::uint16_t number = 1; number <= 3; ++number) {
    folder.write(stem + std::to_string(number) + "-of-00003.gguf", gguf_part(number, 3, 3));
  }
  for (std::uint16_t number = 1; number <= 3; ++number) {
    const std::filesystem::path path = folder / (stem + std::to_string(number) + "-of-00003.gguf");
    const Model model = read_model(path);
    EXPECT_EQ(model.path, path);
    EXPECT_THAT(names_of(model.tensors), ElementsAre("t1", "t2", "t3"));
    EXPECT_EQ(model.tensors.find("t3")->file, 2U);
    EXPECT_EQ(model.metadata.string("general.architecture"), "none");
  }
  EXPECT_EQ(read_model(folder.path()).tensors.entries().size(), 3U);
}

TEST(ReadModel, PartsThatDoNotBelongTogetherAreRefused) {
  const TempFolder folder;
  const auto first = folder.write("m-00001-of-00002.gguf", gguf_part(1, 2, 2));
  const auto second = folder.write("m-00002-of-00002.gguf", gguf_part(1, 2, 2));
  EXPECT_THAT(refusal_of(first).text,
              HasSubstr("says it is part 1 of 2, and its name says part 2"));
  EXPECT_EQ(refusal_of(first).path, second);
  folder.write("m-00002-of-00002.gguf", gguf_part(2, 3, 2));
  EXPECT_THAT(refusal_of(first).text, HasSubstr("says it is part 2 of 3"));
  folder.write("m-00002-of-00002.gguf", gguf_part(2, 2, 2));
  EXPECT_EQ(refusal_of(first).text, "");
  folder.write("m-00001-of-00002.gguf", gguf_part(1, 2, 5));
  EXPECT_THAT(refusal_of(second).text, HasSubstr("has 5 tensors, and its parts have 2"));
  EXPECT_EQ(refusal_of(second).path, first);
  const auto renamed = folder.write("part.gguf", gguf_part(2, 2, 2));
  EXPECT_THAT(refusal_of(renamed).text, HasSubstr("does not end in -00002-of-00002.gguf"));
  const auto beyond = folder.write("n-00003-of-00002.gguf", gguf_part(3, 2, 2));
  EXPECT_THAT(refusal_of(beyond).text, HasSubstr("it says it is part 3 of 2"));
}

TEST(ReadModel, AMissingPartIsNamed) {
  const TempFolder folder;
  const auto second = folder.write("m-00002-of-00002.gguf", gguf_part(2, 2, 2));
  const auto error = thrown<SystemError>([&] { static_cast<void>(read_model(second)); });
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_EQ(error.path(), folder / "m-00001-of-00002.gguf");
  EXPECT_THAT(error.advice(), HasSubstr("part 1 of 2"));
}

class Shards : public testing::Test {
 protected:
  Shards() {
    folder_.write("one.safetensors", one_tensor("a", 3));
    folder_.write("two.safetensors", one_tensor("b", 5));
    folder_.write("config.json", kConfig);
  }
  std::filesystem::path index(const std::string& text) {
    return folder_.write("model.safetensors.index.json", text);
  }

  TempFolder folder_;
};

constexpr const char* kIndex =
    R"({"metadata":{"total_size":8},"weight_map":{"b":"two.safetensors","a":"one.safetensors"}})";

TEST_F(Shards, AreReadByTheirIndexAndByTheirFolder) {
  for (const std::filesystem::path& path : {index(kIndex), folder_.path()}) {
    const Model model = read_model(path);
    EXPECT_EQ(model.format, ModelFormat::safetensors);
    EXPECT_EQ(model.path, path);
    EXPECT_THAT(names_of(model.tensors), ElementsAre("a", "b"));
    EXPECT_EQ(model.tensors.files()[1].path, folder_ / "two.safetensors");
    EXPECT_EQ(model.tensors.find("b")->file, 1U);
    EXPECT_EQ(model.tensors.bytes(), 8U);
    EXPECT_EQ(model.metadata.integer("hidden_size"), 64U);
    EXPECT_EQ(model.shape.layers.size(), 2U);
  }
}

TEST_F(Shards, MustAgreeWithTheirIndex) {
  const auto wrong = [&](const std::string& map, std::uint64_t offset, const std::string& reason) {
    return refused(index(R"({"weight_map":)" + map + "}"), offset, reason);
  };
  EXPECT_TRUE(wrong(R"({"a":"two.safetensors"})", 19, "a is not in two.safetensors"));
  EXPECT_TRUE(wrong(R"({"c":"two.safetensors"})", 19, "c is not in two.safetensors"));
  EXPECT_TRUE(wrong(R"({"a":"../one.safetensors"})", 19, "no plain name"));
  EXPECT_TRUE(wrong(R"({"a":""})", 19, "no plain name"));
  EXPECT_TRUE(wrong(R"({"a":7})", 20, "the file of a is a number"));
  EXPECT_TRUE(wrong(R"([])", 14, "weight_map is an array"));
  EXPECT_TRUE(wrong(R"({"a":["one.safetensors"]})", 19, "the file of a is an array"));
}

TEST_F(Shards, AMissingOneIsNamed) {
  const auto path = index(R"({"weight_map":{"a":"gone.safetensors"}})");
  const auto error = thrown<SystemError>([&] { static_cast<void>(read_model(path)); });
  EXPECT_EQ(error.path(), folder_ / "gone.safetensors");
  EXPECT_THAT(error.advice(), HasSubstr("model.safetensors.index.json names it"));
}

TEST_F(Shards, WithOneTensorTwiceAreRefused) {
  folder_.write("two.safetensors", one_tensor("a", 5));
  const auto path = index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const Refusal refusal = refusal_of(path);
  EXPECT_EQ(refusal.path, folder_ / "two.safetensors");
  EXPECT_EQ(refusal.offset, 9U);
  EXPECT_THAT(refusal.text, HasSubstr("a second tensor called a"));
}

TEST_F(Shards, EachFailingCallIsTold) {
  const std::filesystem::path path = index(kIndex);
  const Work work = {
      .run = [&] { return Complaints{std::to_string(read_model(path).tensors.bytes())}; }};
  EXPECT_GE(sweep(work, EACCES), 12U);
}

TEST(ModelFolder, IsItsOneModel) {
  const TempFolder folder;
  EXPECT_THAT(invalid(folder.path()), HasSubstr("holds no model"));
  folder.write("config.json", kConfig);
  EXPECT_EQ(read_model(folder.path()).format, ModelFormat::config);
  EXPECT_EQ(read_model(folder.path()).path, folder.path());
  folder.write("model.safetensors", one_tensor("a", 3));
  EXPECT_EQ(read_model(folder.path()).format, ModelFormat::safetensors);
  EXPECT_EQ(read_model(folder.path()).shape.layers.size(), 2U);
  folder.write("model.gguf", GgufBytes().header(0, 0).pad().bytes());
  EXPECT_THAT(invalid(folder.path()), HasSubstr("holds 2 models: model.gguf, model.safetensors"));
}

TEST(ModelFolder, OfManyModelsNamesSome) {
  const TempFolder folder;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    folder.write(name + std::string(".safetensors"), one_tensor(name, 1));
  }
  EXPECT_THAT(invalid(folder.path()), HasSubstr("holds 5 models: a.safetensors, b.safetensors, "
                                                "c.safetensors, d.safetensors, ..."));
}

}  // namespace
}  // namespace tapedeck::tests
