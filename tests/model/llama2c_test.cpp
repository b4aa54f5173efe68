// SPDX-License-Identifier: Apache-2.0
#include "model/llama2c/llama2c.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/paths.hpp"
#include "base/thrown.hpp"
#include "model/refusal.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;
using testing::EndsWith;

using Llama2cHeader = std::array<std::int32_t, 7>;

// dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len
constexpr Llama2cHeader kSmallHeader = {8, 12, 2, 2, 1, 5, 16};
// 5·8 + 2·8 + 2·8·8 + 2·4·8·2 + 2·8·8 + 2·8 + 3·2·12·8 + 8 + 2·16·2 floats
constexpr std::size_t kSmallHeaderBytes = 28 + 4 * (40 + 16 + 128 + 128 + 128 + 16 + 576 + 8 + 64);

std::string file_of(const Llama2cHeader& header, std::size_t bytes) {
  std::string file(bytes, '\0');
  std::memcpy(file.data(), header.data(), std::min(bytes, sizeof header));
  return file;
}

TEST(Llama2c, TheSharedCheckpointIsWhatItsReadmeSays) {
  const std::filesystem::path path = shared_data("stories260K") / "stories260K.bin";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const Model model = read_model(path);
  EXPECT_EQ(model.format, ModelFormat::llama2c);
  EXPECT_EQ(model.shape.parameter_count(), 260'032U);
  EXPECT_EQ(model.shape.hidden, 64U);
  EXPECT_EQ(model.shape.layers.size(), 5U);
  EXPECT_EQ(model.shape.layers[0].heads, 8U);
  EXPECT_EQ(model.shape.layers[0].kv_heads, 4U);
  EXPECT_EQ(model.shape.vocabulary, 512U);
  EXPECT_EQ(model.shape.context, 512U);
  EXPECT_TRUE(model.shape.tied);
  EXPECT_EQ(model.tensors.files().front().data_end, std::filesystem::file_size(path));
}

TEST(Llama2c, TellsItsArrays) {
  const TempFolder folder;
  const Model model = read_model(folder.write("a", file_of(kSmallHeader, kSmallHeaderBytes)));
  EXPECT_EQ(model.tensors.entries().size(), 13U);
  EXPECT_THAT(model.tensors.find("wk")->shape(), ElementsAre(2U, 4U, 8U));
  EXPECT_THAT(model.tensors.find("rms_att_weight")->shape(), ElementsAre(2U, 8U));
  EXPECT_THAT(model.tensors.find("rms_final_weight")->shape(), ElementsAre(8U));
  EXPECT_EQ(model.tensors.find("token_embedding_table")->offset, 28U);
  EXPECT_EQ(model.tensors.bytes(), kSmallHeaderBytes - 28);
  EXPECT_EQ(model.metadata.integer("hidden_dim"), 12U);
  EXPECT_FALSE(model.tensors.truncated());
}

TEST(Llama2c, ANegativeVocabularySaysThatTheClassifierIsItsOwn) {
  const TempFolder folder;
  Llama2cHeader header = kSmallHeader;
  header[5] = -5;
  const Model model = read_model(folder.write("a", file_of(header, kSmallHeaderBytes + 160)));
  EXPECT_FALSE(model.shape.tied);
  EXPECT_EQ(model.shape.vocabulary, 5U);
  EXPECT_THAT(model.tensors.find("wcls")->shape(), ElementsAre(5U, 8U));
}

TEST(Llama2c, AHeaderByItselfIsTruncated) {
  const TempFolder folder;
  EXPECT_TRUE(read_model(folder.write("a.bin", file_of(kSmallHeader, 28))).tensors.truncated());
}

TEST(Llama2c, RefusesWhatIsNoModel) {
  using enum FormatFault;
  const TempFolder folder;
  const auto refusal_with = [&](std::size_t field, std::int32_t value) {
    Llama2cHeader header = kSmallHeader;
    header[field] = value;
    return refusal_of(folder.write("bad.bin", file_of(header, kSmallHeaderBytes)));
  };
  EXPECT_EQ(refusal_with(0, 0), (Refusal{0, "dim", out_of_range}));
  EXPECT_EQ(refusal_with(1, -1), (Refusal{4, "hidden_dim", out_of_range}));
  EXPECT_EQ(refusal_with(2, 4097), (Refusal{8, "n_layers", out_of_range}));
  EXPECT_EQ(refusal_with(3, 3), (Refusal{12, "n_heads", contradictory}));
  EXPECT_EQ(refusal_with(3, 8), (Refusal{12, "n_heads", contradictory}));  // odd size
  EXPECT_EQ(refusal_with(4, 3), (Refusal{16, "n_kv_heads", contradictory}));
  EXPECT_EQ(refusal_of(folder.write("cut.bin", file_of(kSmallHeader, 27))),
            (Refusal{27, "the header", cut_off}));
  EXPECT_EQ(refusal_of(folder.write("long.bin", file_of(kSmallHeader, kSmallHeaderBytes + 1))),
            (Refusal{kSmallHeaderBytes, "the data", contradictory}));
  // Either one array claims more than can be counted, or all arrays together do.
  constexpr std::int32_t kMost = 0x7ffffff0;
  for (const auto& [layers, array] :
       {std::pair(4096, "wq"), std::pair(1, "token_embedding_table")}) {
    const Llama2cHeader header = {kMost, kMost, layers, 8, 8, kMost, kMost};
    EXPECT_EQ(refusal_of(folder.write("bad.bin", file_of(header, 28))),
              (Refusal{0, array, out_of_range}));
  }
}

TEST(Llama2c, ARefusalStatesBothValues) {
  const TempFolder folder;
  const auto message_with = [&](std::size_t field, std::int32_t value) {
    Llama2cHeader header = kSmallHeader;
    header[field] = value;
    const std::filesystem::path path = folder.write("bad.bin", file_of(header, 28));
    return std::string(thrown<FormatError>([&] { (void)read_model(path); }).message());
  };
  EXPECT_THAT(message_with(0, 0), EndsWith("dim of 0 is below the minimum of 1"));
  EXPECT_THAT(message_with(2, 4097), EndsWith("n_layers of 4097 exceeds the maximum of 4096"));
  EXPECT_THAT(message_with(3, 3), EndsWith("n_heads of 3 does not divide dim of 8"));
  EXPECT_THAT(message_with(4, 3), EndsWith("n_kv_heads of 3 does not divide n_heads of 2"));
}

// Only the advice distinguishes them from a broken file.
TEST(Llama2c, OtherFormatsAreToldByTheirMagic) {
  const TempFolder folder;
  const auto advice_of = [&](std::int32_t magic) {
    const auto path = folder.write("a.bin", file_of({magic, 0, 2, 2, 1, 5, 16}, 256));
    return std::string(
        thrown<FormatError>([&] { static_cast<void>(internal::read_llama2c(path)); }).advice());
  };
  EXPECT_EQ(advice_of(0x616b3432), "this is a later llama2.c format: export it with --version 0");
  EXPECT_EQ(advice_of(0x46554747),
            "this is a GGUF file; a llama2.c version 0 checkpoint is needed");
}

}  // namespace
}  // namespace tapedeck::tests
