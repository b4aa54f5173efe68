#include "model/llama2c/llama2c.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/paths.hpp"
#include "model/refusal.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::tests {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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
  const TempFolder folder;
  const auto wrong = [&](std::size_t field, std::int32_t value, const std::string& reason) {
    Llama2cHeader header = kSmallHeader;
    header[field] = value;
    return refused(folder.write("bad.bin", file_of(header, kSmallHeaderBytes)), field * 4, reason);
  };
  EXPECT_TRUE(wrong(0, 0, "dim is 0"));
  EXPECT_TRUE(wrong(1, -1, "hidden_dim -1 is negative"));
  EXPECT_TRUE(wrong(2, 65537, "n_layers 65537 is more than any model has"));
  EXPECT_TRUE(wrong(3, 3, "n_heads 3 does not divide dim"));
  EXPECT_TRUE(wrong(3, 8, "n_heads 8 makes heads of an odd size"));
  EXPECT_TRUE(wrong(4, 3, "n_kv_heads 3 does not divide n_heads"));
  EXPECT_TRUE(refused(folder.write("cut.bin", file_of(kSmallHeader, 27)), 27, "inside the header"));
  EXPECT_TRUE(refused(folder.write("long.bin", file_of(kSmallHeader, kSmallHeaderBytes + 1)),
                      kSmallHeaderBytes, "ends here, but the file goes on"));
}

TEST(Llama2c, RefusesClaimsThatOverflow) {
  const TempFolder folder;
  const std::int32_t most = 0x7ffffff0;
  const Llama2cHeader header = {most, most, 65536, 8, 8, most, most};
  EXPECT_TRUE(refused(folder.write("bad.bin", file_of(header, 28)), 0, "more than any file"));
}

TEST(Llama2c, ALaterVersionIsToldByItsMagic) {
  const TempFolder folder;
  Llama2cHeader header = kSmallHeader;
  header[0] = 0x616b3432;
  header[1] = 0;
  EXPECT_THAT(refusal_of(folder.write("v2.bin", file_of(header, 256))).text,
              HasSubstr("later llama2.c format"));
}

}  // namespace
}  // namespace tapedeck::tests
