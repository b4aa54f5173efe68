// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <string>

#include "cli/models.hpp"
#include "cli/program.hpp"

namespace tapedeck::tests {
namespace {

TEST(Show, TellsWhatAModelIsMadeOf) {
  const Ran ran = run({"show", made_large()});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out,
              Like("model     large.bin (llama, llama2c)\n"
                   "size      177 K parameters, hidden 64, vocabulary 512, made for 1024 tokens\n"
                   "layers    3 layers full\n"
                   "file      */large.bin: 692.8 KiB, data from byte 28 to 709404\n\n"
                   "7 keys\n"
                   "  dim = 64\n"
                   "...\n"
                   "  seq_len = 1024\n\n"
                   "13 tensors, 692.8 KiB\n"
                   "...\n"
                   "  f32 *132096 bytes at *280092 of file 0  [3, 172, 64]  w1\n"
                   "...\n"));
}

TEST(Show, ReportsAFileWithoutAllOfItsData) {
  const TempFolder folder;
  const std::string whole = content_of(made_large());
  const std::string cut = folder.write("cut.bin", whole.substr(0, whole.size() - 1));
  const Ran ran = run({"show", cut});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.out, Like("...\nfile      * (TRUNCATED: 1 B missing)\n...\n"));
  EXPECT_EQ(ran.err, "tapedeck: " + cut + ", byte " + std::to_string(whole.size() - 1) +
                         ": the file is truncated: its tensors end at byte " +
                         std::to_string(whole.size()) +
                         ", and it lacks 1 byte; copy or download it again\n");
  // A beginning that was downloaded for the header has no whole tensor.
  const Ran header = run({"show", folder.write("header.bin", whole.substr(0, 28))});
  EXPECT_EQ(header.exit_code, 0) << header.err;
  EXPECT_EQ(header.err, "");
  EXPECT_THAT(header.out, Like("...\nfile      * (header only: * KiB missing)\n...\n"));
  if (const auto why = no_shared_data("gguf")) GTEST_SKIP() << *why;
  const Ran shared = run({"show", shared_data("gguf") / "llama-2-7b-chat-Q4_0.header-only.gguf"});
  EXPECT_EQ(shared.exit_code, 0);
  EXPECT_THAT(shared.out,
              Like("model     LLaMA v2 (llama, gguf)\n*\nlayers    32 layers full\nversion   3\n"
                   "file      * (header only: 3.6 GiB missing)\n\n23 keys\n...\n"
                   "  llama.block_count = 32\n...\n"
                   "  tokenizer.ggml.tokens = [32000 items]\n...\n\n291 tensors, 3.6 GiB\n...\n"));
}

}  // namespace
}  // namespace tapedeck::tests
