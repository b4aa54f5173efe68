// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/model/read_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "model/gguf_bytes.hpp"
#include "model/refusal.hpp"
#include "model/safetensors_bytes.hpp"
#include "os/fault_sweep.hpp"
#include "os/odd_entries.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using enum FormatFault;

// Nemotron-H's config.json contains Infinity, as Python's json.dump writes it.
constexpr const char* kConfig =
    R"({"model_type":"llama","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,)"
    R"("intermediate_size":128,"vocab_size":100,"time_step_limit":[0.0,Infinity]})";

std::string one_tensor(const std::string& name, std::size_t bytes) {
  return safetensors("{" + tensor_json(name, "U8", std::to_string(bytes), 0, bytes) + "}", bytes);
}

/// Part `number` (counted from 1) of `count`, with one tensor.
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

template <class Exception>
Exception error_of(const std::filesystem::path& path) {
  return thrown<Exception>([&] { static_cast<void>(read_model(path)); });
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

// A download that preallocates its file has the right size from the start.
TEST(ReadModel, NamesWhatWasNeverWritten) {
  constexpr std::uint64_t kBytes = 1 << 20;
  const std::string gguf = GgufBytes()
                               .header(1, 1)
                               .key("general.architecture", "none")
                               .tensor("t", {kBytes / 4}, kF32, 0)
                               .pad()
                               .bytes();
  const std::string whole = one_tensor("t", kBytes);
  struct Row {
    const char* name;
    std::string header;
  };
  const Row rows[] = {{"a.gguf", gguf}, {"a.safetensors", whole.substr(0, whole.size() - kBytes)}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const TempFolder folder;
    const std::filesystem::path path = folder.write(row.name, row.header);
    std::filesystem::resize_file(path, row.header.size() + kBytes);
    const Model model = read_model(path);
    const std::uint64_t unwritten = model.tensors.files()[0].unwritten;
    if (unwritten == 0) GTEST_SKIP() << "this file system does not report holes";
    EXPECT_GT(unwritten, kBytes / 2);
    EXPECT_LE(unwritten, kBytes);
    ASSERT_FALSE(model.shape.warnings.empty());
    EXPECT_THAT(model.shape.warnings.back(), testing::StartsWith(row.name));
    const Model complete =
        read_model(folder.write(row.name, row.header + std::string(kBytes, 'x')));
    EXPECT_EQ(complete.tensors.files()[0].unwritten, 0U);
    EXPECT_EQ(complete.shape.warnings.size() + 1, model.shape.warnings.size());
  }
}

// The first byte of the header's length is '{'.
TEST(ReadModel, ASafetensorsFileThatBeginsLikeJsonIsNone) {
  const TempFolder folder;
  std::string header = "{" + tensor_json("t", "U8", "1", 0, 1) + "}";
  header.resize('{', ' ');
  EXPECT_EQ(read_model(folder.write("a", safetensors(header, 1))).format, ModelFormat::safetensors);
}

TEST(ReadModel, RefusesWhatIsNoModel) {
  const TempFolder folder;
  EXPECT_EQ(refusal_of(folder.write("note", "hello")), (Refusal{0, "", not_this_format}));
  for (const char* name : {"note", "a.gguf", "a.safetensors", "a.json", "a.bin"}) {
    const std::filesystem::path path = folder.write(name, "");
    EXPECT_EQ(refusal_of(path), (Refusal{0, "", cut_off}));
    EXPECT_EQ(error_of<FormatError>(path).message(), path.string() + ", byte 0: the file is empty");
  }
  const std::filesystem::path fifo = folder / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(static_cast<void>(read_model(fifo)), InvalidArgument);
  const auto error = error_of<SystemError>(folder / "missing");
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
  constexpr const char* kFirst = "m-00001-of-00002.gguf";
  constexpr const char* kSecond = "m-00002-of-00002.gguf";
  const auto refused = [&](const char* asked, const char* path, const char* field,
                           FormatFault fault) {
    const auto error = error_of<FormatError>(folder / asked);
    EXPECT_EQ(error.path(), folder / path);
    EXPECT_EQ(error.field(), field);
    EXPECT_EQ(error.fault(), fault);
    EXPECT_NE(error.offset(), 0U);
  };
  folder.write(kFirst, gguf_part(1, 2, 2));
  folder.write(kSecond, gguf_part(1, 2, 2));
  refused(kFirst, kSecond, "split.no", contradictory);
  folder.write(kSecond, gguf_part(2, 3, 2));
  refused(kFirst, kSecond, "split.no", contradictory);
  folder.write(kSecond, gguf_part(2, 2, 2));
  EXPECT_EQ(read_model(folder / kFirst).tensors.entries().size(), 2U);
  folder.write(kFirst, gguf_part(1, 2, 5));
  refused(kSecond, kFirst, "split.tensors.count", contradictory);
  folder.write("part.gguf", gguf_part(2, 2, 2));
  refused("part.gguf", "part.gguf", "split.count", contradictory);
  folder.write("n-00003-of-00002.gguf", gguf_part(3, 2, 2));
  refused("n-00003-of-00002.gguf", "n-00003-of-00002.gguf", "split.no", out_of_range);
}

// Regression: a part whose header does not state the others was shown as a whole model.
TEST(ReadModel, APartIsNoWholeModel) {
  const TempFolder folder;
  const std::string whole = GgufBytes().header(0, 0).pad().bytes();
  for (const char* const name : {"m-00001-of-00001.gguf", "m-0001-of-0002.gguf", "of-00002.gguf"}) {
    EXPECT_NO_THROW((void)read_model(folder.write(name, whole))) << name;
  }
  for (const char* const name : {"m-00002-of-00003.gguf", "m-00000-of-00000.gguf"}) {
    for (const std::string& bytes : {whole, gguf_part(1, 1, 1)}) {
      const auto error = error_of<FormatError>(folder.write(name, bytes));
      EXPECT_EQ(error.fault(), contradictory) << name;
      EXPECT_EQ(error.field(), "split.count") << name;
    }
  }
  const TempFolder shards;
  shards.write("config.json", kConfig);
  for (const char* const name : {"m-00001-of-00001.safetensors", "m-00002-of-00003.safetensors"}) {
    const bool part = std::string_view(name).find("00003") != std::string_view::npos;
    const ModelShape shape = read_model(shards.write(name, one_tensor("a", 3))).shape;
    EXPECT_EQ(shape.warnings.size(), part ? 1U : 0U) << name;
    EXPECT_EQ(shape.exact_weights, !part) << name;
  }
}

TEST(ReadModel, AMissingPartIsNamed) {
  const TempFolder folder;
  const auto second = folder.write("m-00002-of-00002.gguf", gguf_part(2, 2, 2));
  const auto error = error_of<SystemError>(second);
  EXPECT_EQ(error.number(), ENOENT);
  EXPECT_EQ(error.path(), folder / "m-00001-of-00002.gguf");
  EXPECT_EQ(error.advice(), "it is part 1 of 2 of the model of " + second.string() +
                                ": keep all files of a model in one folder");
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
  for (const auto& [map, refusal] : std::vector<std::pair<std::string, Refusal>>{
           {R"({"a":"two.safetensors"})", {19, "a", contradictory}},
           {R"({"c":"two.safetensors"})", {19, "c", contradictory}},
           {R"({"a":"../one.safetensors"})", {19, "a", out_of_range}},
           {R"({"a":""})", {19, "a", out_of_range}},
           {R"({"a":".."})", {19, "a", out_of_range}},
           {R"({"a":7})", {20, "a", wrong_type}},
           {R"({"a":["one.safetensors"]})", {19, "a", wrong_type}},
           {R"({"a":{}})", {19, "a", wrong_type}},
           {"[]", {14, "weight_map", wrong_type}},
           {"null", {17, "weight_map", wrong_type}},
           {R"({"a":"one.safetensors")", {37, "", malformed}}}) {
    EXPECT_EQ(refusal_of(index(R"({"weight_map":)" + map + "}")), refusal) << map;
  }
}

TEST_F(Shards, AMissingOneIsNamed) {
  const auto path = index(R"({"weight_map":{"a":"gone.safetensors"}})");
  const auto error = error_of<SystemError>(path);
  EXPECT_EQ(error.path(), folder_ / "gone.safetensors");
  EXPECT_EQ(error.advice(), path.string() + " names it: keep all files of a model in one folder");
}

TEST_F(Shards, WithOneTensorTwiceAreRefused) {
  folder_.write("two.safetensors", one_tensor("a", 5));
  const auto error = error_of<FormatError>(
      index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"));
  EXPECT_EQ(error.path(), folder_ / "two.safetensors");
  EXPECT_EQ(error.offset(), 9U);
  EXPECT_EQ(error.field(), "a");
}

TEST_F(Shards, EachFailingCallIsTold) {
  const std::filesystem::path path = index(kIndex);
  const Work work = {
      .run = [&] { return Complaints{std::to_string(read_model(path).tensors.bytes())}; },
      .silent = {"lseek"}};  // holes are then not named
  EXPECT_GE(sweep(work, EACCES), 12U);
}

TEST(ModelFolder, IsItsOneModel) {
  const TempFolder folder;
  EXPECT_EQ(error_of<InvalidArgument>(folder.path()).message(),
            folder.path().string() + " holds no model");
  folder.write("config.json", kConfig);
  EXPECT_EQ(read_model(folder.path()).format, ModelFormat::config);
  EXPECT_EQ(read_model(folder.path()).path, folder.path());
  folder.write("model.safetensors", one_tensor("a", 3));
  EXPECT_EQ(read_model(folder.path()).format, ModelFormat::safetensors);
  EXPECT_EQ(read_model(folder.path()).shape.layers.size(), 2U);
  folder.write("model.gguf", GgufBytes().header(0, 0).pad().bytes());
  const auto error = error_of<InvalidArgument>(folder.path());
  EXPECT_EQ(error.argument(), "path");
  EXPECT_FALSE(error.value() || error.limit());  // a path is not a number
  EXPECT_EQ(error.message(),
            folder.path().string() + " holds 2 models: model.gguf, model.safetensors");
}

// The towers of a GGUF model are named with their size, and it is read without them.
TEST(ModelFolder, AProjectorBesideAModelIsLeftOut) {
  const TempFolder folder;
  const std::string gguf = GgufBytes().header(0, 0).pad().bytes();
  folder.write("mmproj-F16.gguf", gguf);
  EXPECT_EQ(read_model(folder.path()).path, folder.path());
  EXPECT_TRUE(read_model(folder.path()).shape.warnings.empty());
  folder.write("model-Q8_0.gguf", gguf_part(1, 1, 1));
  const Model model = read_model(folder.path());
  EXPECT_THAT(names_of(model.tensors), ElementsAre("t1"));
  EXPECT_THAT(model.shape.warnings,
              ElementsAre("mmproj-F16.gguf beside the model is left out: " + to_iec(gguf.size()) +
                          " of weights, and its buffers"));
  folder.write("other.gguf", gguf);
  EXPECT_EQ(error_of<InvalidArgument>(folder.path()).message(),
            folder.path().string() + " holds 2 models: model-Q8_0.gguf, other.gguf");
}

// What lies beside the model is left out, or named.
TEST(ModelFolder, IsReadBesideOddEntries) {
  const std::string gguf = gguf_part(1, 1, 1);
  const TempFolder folder;
  folder.write("model.gguf", gguf);
  for (const char* const name : {"odd.gguf", "mmproj-odd.gguf", "odd.safetensors",
                                 "odd.safetensors.index.json", "config.json", "odd"}) {
    for (const OddEntry& odd : odd_entries()) {
      SCOPED_TRACE(std::string(odd.name) + " named " + name);
      const std::filesystem::path path = folder / name;
      const OddEntry::Made made = odd.make(path, gguf);
      if (made.exists) {
        try {
          EXPECT_THAT(names_of(read_model(folder.path()).tensors), ElementsAre("t1"));
        } catch (const InvalidArgument& error) {
          EXPECT_THAT(error.what(), HasSubstr(std::string("holds 2 models: model.gguf, ") + name));
          EXPECT_TRUE(std::filesystem::is_symlink(path) || std::filesystem::is_regular_file(path));
        }
      }
      std::filesystem::remove_all(path);
      std::filesystem::remove(folder / "target");
    }
  }
}

// Case E43.
TEST(ModelFolder, WithAProjectorIsPlannedAsItsModel) {
  const std::filesystem::path folder = shared_data("cases") / "E43";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  const Model model = read_model(folder);
  EXPECT_EQ(model.shape.architecture, "llama");
  EXPECT_FALSE(model.shape.layers.empty());
  EXPECT_FALSE(model.shape.exact());
  // Others are possible: whether a file has holes depends on how it was copied.
  EXPECT_THAT(model.shape.warnings, Contains("mmproj-F16.gguf beside the model is left out: "
                                             "73.7 KiB of weights, and its buffers"));
}

// Older tools state the quantization beside the config, which then does not state it.
TEST(ModelFolder, AQuantizationBesideTheConfigIsNamed) {
  for (const char* name : {"hf_quant_config.json", "quantize_config.json", "quant_config.json"}) {
    const TempFolder folder;
    folder.write("config.json", kConfig);
    EXPECT_TRUE(read_model(folder.path()).shape.exact_weights);
    folder.write(name, R"({"bits": 4})");
    const ModelShape shape = read_model(folder.path()).shape;
    EXPECT_FALSE(shape.exact_weights);
    EXPECT_TRUE(shape.exact_caches);
    EXPECT_THAT(shape.warnings, ElementsAre(::testing::StartsWith(name)));
    folder.write("model.safetensors", one_tensor("a", 3));  // of a type that the file states
    EXPECT_TRUE(read_model(folder.path()).shape.warnings.empty());
  }
}

TEST(ModelFolder, OfManyModelsNamesSome) {
  const TempFolder folder;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    folder.write(name + std::string(".safetensors"), one_tensor(name, 1));
  }
  EXPECT_EQ(error_of<InvalidArgument>(folder.path()).message(),
            folder.path().string() +
                " holds 5 models: a.safetensors, b.safetensors, c.safetensors, d.safetensors, ...");
}

}  // namespace
}  // namespace tapedeck::tests
