// SPDX-License-Identifier: Apache-2.0
// Models that are valid but odd, or invalid: the result is the right bytes, or a typed error.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "model/gguf_bytes.hpp"
#include "model/shared_data.hpp"
#include "os/self.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/weights/weights.hpp"
#include "weights/made_models.hpp"
#include "weights/patterned_model.hpp"

namespace tapedeck::tests {
namespace {

namespace fs = std::filesystem;

class OddModel : public ::testing::TestWithParam<Way> {
 protected:
  static void SetUpTestSuite() { make_what_is_made_once(2); }
  void SetUp() override { before_ = holdings(); }
  void TearDown() override { EXPECT_TRUE(same(before_, holdings())); }

  [[nodiscard]] static Weights open(const fs::path& path) {
    return Weights::open(path, {.way = GetParam()});
  }

  // Warms everything from cold and hot files, and again after a decommit.
  static void expect_warms(const fs::path& path) {
    if (fs::is_regular_file(path)) store_and_make_cold(path);
    for (int time = 0; time < 2; ++time) {
      Weights weights = open(path);
      for (int again = 0; again < 2; ++again) {
        const WarmResult result = weights.warm({.threads = 2});
        EXPECT_EQ(result.end, WarmEnd::complete);
        EXPECT_EQ(result.warmed, result.asked);
        EXPECT_TRUE(all_right(weights));
        EXPECT_LE(result.present.value_or(0), weights.range().size());
        static_cast<void>(weights.decommit());
      }
    }
  }

  // Opening it must fail with an error of ours that names the path in question.
  static void expect_refused(const fs::path& path, const fs::path& about) {
    try {
      Weights weights = open(path);
      ADD_FAILURE() << path << " was opened, with " << weights.size() << " tensors";
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::invalid_argument) return;  // which can only be about the path
      for (const ErrorFact& fact : error.facts()) {
        if (std::string_view(fact.name) == "path" && fact.value == about) return;
      }
      ADD_FAILURE() << path << ": " << error.what();
    }
  }
  static void expect_refused(const fs::path& path) { expect_refused(path, path); }

  TempFolder folder_;
  Holdings before_;
};

INSTANTIATE_TEST_SUITE_P(Way, OddModel, ::testing::ValuesIn(kWays), name_of_way);

TEST_P(OddModel, TensorsOfNoBytesAndOfOne) {
  expect_warms(make_file(folder_, "a.safetensors", {.sizes = {0, 1, 0, 2, 3, 0, 4097, 0}}));
  expect_warms(make_file(folder_, "b.safetensors", {.sizes = {0, 0}}));
}

TEST_P(OddModel, TensorsThatEndWithAChunkOrAPage) {
  const std::uint64_t header = made_header({.sizes = {8_MiB - 1, 8_MiB, 4096, 4096, 8_MiB}}).size();
  expect_warms(
      make_file(folder_, "a.safetensors", {.sizes = {8_MiB - header, 8_MiB, 4096, 4096, 8_MiB}}));
}

TEST_P(OddModel, TensorsOutOfOrderInTheDirectory) {
  expect_warms(make_file(folder_, "a.safetensors",
                         {.sizes = {5_MiB, 100, 9_MiB, 0, 4_MiB, 33}, .backwards = true}));
}

TEST_P(OddModel, TenThousandTensors) {
  std::vector<std::uint64_t> sizes(10'000);
  for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = i * 37 % 4001;
  const fs::path path = make_file(folder_, "a.safetensors", {.sizes = sizes});
  expect_warms(path);
  Weights weights = open(path);
  std::vector<std::uint32_t> order(weights.size());
  std::iota(order.rbegin(), order.rend(), 0U);
  EXPECT_TRUE(weights.warm({.threads = 2}, order));
  EXPECT_TRUE(all_right(weights));
  EXPECT_LE(weights.residency_of(order).bytes, weights.range().size());
}

/// Writes an index for files with a few tensors each. Returns its path.
fs::path make_parts(const TempFolder& folder, std::size_t parts) {
  std::vector<FileToMake> files;
  for (std::size_t part = 0; part < parts; ++part) {
    files.push_back({.sizes = {70'001, 0, 23'333 + part}, .first = 3 * part});
  }
  return make_files(folder, files);
}

TEST_P(OddModel, AHundredFiles) {
  expect_warms(make_parts(folder_, 100));
  expect_warms(folder_.path());  // opened as a folder
}

TEST_P(OddModel, OneOfManyFilesIsCutOff) {
  const fs::path index = make_parts(folder_, 10);
  const fs::path part = folder_ / "part-7.safetensors";
  fs::resize_file(part, fs::file_size(part) - 1);
  expect_refused(index, part);
}

TEST_P(OddModel, OneOfManyFilesIsMissing) {
  const fs::path index = make_parts(folder_, 10);
  fs::remove(folder_ / "part-7.safetensors");
  expect_refused(index, folder_ / "part-7.safetensors");
}

// A safetensors header of odd length puts all data at odd addresses.
TEST_P(OddModel, MisalignedTensorsAreRealignedByReading) {
  for (const std::size_t skew : {1U, 2U, 3U, 63U}) {
    const fs::path path =
        make_file(folder_, "a.safetensors",
                  {.sizes = {9_MiB, 4, 0, 100, 12_MiB}, .dtype = "F32", .skew = skew});
    expect_warms(path);
    Weights weights = open(path);
    EXPECT_TRUE(weights.warm({.threads = 2}));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i].bytes.empty()) continue;
      const bool aligned = weights.files()[0].way != Way::map;
      EXPECT_EQ(weights[i].aligned, aligned);
      if (aligned) {
        EXPECT_EQ(weights[i].as<float>().size_bytes(), weights[i].bytes.size());
      } else {
        EXPECT_THROW(static_cast<void>(weights[i].as<float>()), InvalidArgument);
        EXPECT_FALSE(weights[i].try_as<float>());
      }
    }
    EXPECT_EQ(weights.files()[0].way == Way::map, GetParam() == Way::map);
  }
}

// Checks each tensor of a file without alignment, where some are aligned by chance and some are
// not.
TEST_P(OddModel, AGgufFileWithoutAlignment) {
  GgufBytes file;
  constexpr std::size_t kTensors = 60;
  file.header(kTensors, 2)
      .key("general.architecture", "llama")
      .key("general.alignment", gguf_type::u32, std::uint32_t{1});
  std::uint64_t at = 0;
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < kTensors; ++i) {
    const bool bytes = i % 3 == 1;  // i8 (24), which shifts the f32 (0) after it
    const std::uint64_t elements = bytes ? 1 + i % 7 : i * 5003;
    file.tensor(made_name(i), {elements}, bytes ? 24 : 0, at);
    sizes.push_back(bytes ? elements : 4 * elements);
    at += sizes.back();
  }
  std::string content = file.bytes();
  for (std::size_t i = 0; i < kTensors; ++i) {
    std::string tensor(sizes[i], '\0');
    Pattern(i).write(tensor.data(), tensor.size());
    content += tensor;
  }
  const fs::path path = folder_.write("a.gguf", content);
  expect_warms(path);
  Weights weights = open(path);
  EXPECT_TRUE(weights.warm({.threads = 2}));
  std::size_t misaligned = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) misaligned += weights[i].aligned ? 0U : 1U;
  EXPECT_EQ(misaligned != 0, GetParam() == Way::map);
}

TEST_P(OddModel, AFileOfHolesHoldsZeros) {
  const fs::path path = folder_.write("a.safetensors", made_header({.sizes = {20_MiB, 4_MiB + 1}}));
  fs::resize_file(path, fs::file_size(path) + 24_MiB + 1);
  for (int time = 0; time < 2; ++time) {
    Weights weights = open(path);
    EXPECT_TRUE(weights.warm({.threads = 2}));
    EXPECT_TRUE(all_bytes_are(weights[0].bytes.data(), 20_MiB, 0));
    EXPECT_TRUE(all_bytes_are(weights[1].bytes.data(), 4_MiB + 1, 0));
  }
}

TEST_P(OddModel, WhatIsNoModelIsRefusedByName) {
  const fs::path fifo = folder_ / "fifo.gguf";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  fs::create_directory(folder_ / "bare");
  fs::create_directory_symlink(folder_ / "loop.gguf", folder_ / "loop.gguf");
  for (const fs::path& path : {
           fifo,
           folder_.write("empty.gguf", ""),
           folder_.write("empty.safetensors", ""),
           folder_.write("empty.bin", ""),
           fs::path("/dev/null"),
           fs::path("/dev/zero"),
           folder_ / "nothing",
           folder_ / "bare",
           folder_ / "loop.gguf",
           folder_.write("config/config.json", R"({"model_type":"llama"})"),
           // A file that has only a header.
           folder_.write("a.safetensors", made_header({.sizes = {10, 0, 30}})),
       }) {
    expect_refused(path);
  }
}

TEST_P(OddModel, AModelCutOffAtAnyByteIsRefused) {
  const fs::path whole = make_file(folder_, "a.safetensors", {.sizes = {10, 0, 30}});
  const std::string content = text_of(whole.string());
  for (std::size_t length = 0; length < content.size(); ++length) {
    const fs::path path = folder_.write("b.safetensors", content.substr(0, length));
    expect_refused(path);
  }
}

TEST_P(OddModel, NoMalformedFileIsOpened) {
  const std::vector<IndexRow> rows = index_of("malformed");
  if (rows.empty()) GTEST_SKIP() << "no " << shared_data("malformed");
  for (const IndexRow& row : rows) expect_refused(shared_data("malformed") / row.at("file"));
}

}  // namespace
}  // namespace tapedeck::tests
