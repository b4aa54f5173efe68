// SPDX-License-Identifier: Apache-2.0
// GGUF files with exactly one mistake each.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/thrown.hpp"
#include "model/counting_heap.hpp"
#include "model/gguf_bytes.hpp"
#include "model/refusal.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

using enum FormatFault;

constexpr std::uint64_t kBody = 24;                               ///< Of the first pair or tensor.
constexpr std::uint64_t kSecond = kBody + 8 + 1 + 4 + 8 + 4 + 8;  ///< After a tensor of one row.

using Files = std::vector<std::pair<GgufBytes, Refusal>>;

void expect_refused(const Files& files) {
  const TempFolder folder;
  for (const auto& [file, refusal] : files) {
    EXPECT_EQ(refusal_of(folder.write("bad.gguf", file.bytes())), refusal);
  }
}

TEST(AdversarialGguf, HeadersAreRefusedForTheirVersion) {
  constexpr std::uint32_t kBigEndian3 = 0x03000000;
  for (const std::uint32_t version : {kBigEndian3, 0U, 1U, 4U, 0xffffffffU}) {
    expect_refused({{GgufBytes(version).header(0, 0), {4, "the version", not_this_format}}});
  }
}

TEST(AdversarialGguf, HeadersAreRefusedForTheirCounts) {
  expect_refused({
      {GgufBytes().header(1, 0), {8, "the number of tensors", cut_off}},
      {GgufBytes(1).header(0xffffffff, 0), {8, "the number of tensors", cut_off}},
      {GgufBytes().header(0, 1), {16, "the number of keys", cut_off}},
      {GgufBytes().header(0, 65'537).zeros(1_MiB), {kBody, "the number of keys", out_of_range}},
  });
}

/// A header of one key, up to the type of its value.
GgufBytes one_key(const std::string& key = "k") { return GgufBytes().header(0, 1).string(key); }

TEST(AdversarialGguf, KeysAreRefusedForTheirValues) {
  using namespace gguf_type;
  expect_refused({
      {one_key("").number(u8).zeros(9), {kBody, "a key"}},
      {one_key(std::string(65'536, 'k')), {kBody, "a key", out_of_range}},
      {one_key().number(std::uint32_t{13}).zeros(8), {kBody + 9, "k", unsupported}},
      {one_key().number(array).number(array).size(0), {kBody + 13, "k", unsupported}},
      // Multiplied by 8 it wraps to 8.
      {one_key().number(array).number(u64).size((1ULL << 61) + 1).zeros(8),
       {kBody + 17, "an array's length", cut_off}},
      {one_key().number(string).size(~std::uint64_t{0}).zeros(8), {kBody + 13, "a value", cut_off}},
  });
  const Refusal alignment = {kBody, "general.alignment", out_of_range};
  for (const std::uint64_t value : {0ULL, 3ULL, 48ULL, 1ULL << 63}) {
    expect_refused({{one_key("general.alignment").number(u64).number(value), alignment}});
  }
  expect_refused({{one_key("general.alignment").number(string).string("32"), alignment}});
}

TEST(AdversarialGguf, MoreStringsThanAnyVocabularyHas) {
  const TempFolder folder;
  GgufBytes file = one_key().number(gguf_type::array).number(gguf_type::string);
  const std::uint64_t count = file.at();
  const auto path = folder.write("bad.gguf", file.size((1 << 24) + 1).bytes());
  std::filesystem::resize_file(path, 256_MiB);
  EXPECT_EQ(refusal_of(path), (Refusal{count, "k", out_of_range}));
}

GgufBytes one_tensor(const std::vector<std::uint64_t>& dimensions, std::uint32_t type = kF32,
                     const std::string& name = "a", std::uint64_t offset = 0) {
  return GgufBytes().header(1, 0).tensor(name, dimensions, type, offset).pad().zeros(256);
}

TEST(AdversarialGguf, TensorsAreRefusedForTheirShape) {
  constexpr std::uint64_t kHalf = 1ULL << 63;
  constexpr std::uint64_t kTwo32 = 1ULL << 32;
  constexpr std::uint32_t kQ40 = 2;
  constexpr std::uint32_t kF64 = 28;
  const Refusal beyond = {kBody, "a", out_of_range};
  const Refusal no_blocks = {kBody, "a", contradictory};
  Files files = {
      {one_tensor({1, 1, 1, 1, 1}), {kBody + 9, "a", out_of_range}},
      {one_tensor({kHalf}), beyond},
      {one_tensor({kTwo32, kTwo32}), beyond},
      // The product is 0 in 64 bits, and is also 0 because of the last dimension.
      {one_tensor({kTwo32, kTwo32, 4}), beyond},
      {one_tensor({0, kHalf}), beyond},
      {one_tensor({1ULL << 62}), beyond},
      {one_tensor({1ULL << 60}, kF64), beyond},
      {one_tensor({33}, kQ40), no_blocks},
      {one_tensor({16, 2}, kQ40), no_blocks},
      {one_tensor({1}, kF32, ""), {kBody, "a tensor's name"}},
      {one_tensor({1}, kF32, std::string(65, 'n')), {kBody, "a tensor's name", out_of_range}},
  };
  for (const std::uint32_t type : {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U, 43U, 0xffffffffU}) {
    files.push_back({one_tensor({32}, type), {kBody + 9 + 4 + 8, "a", unsupported}});
  }
  expect_refused(files);
  const TempFolder folder;
  const GgufBytes longest = one_tensor({1}, kF32, std::string(64, 'n'));
  EXPECT_EQ(refusal_of(folder.write("good.gguf", longest.bytes())), std::nullopt);
}

TEST(AdversarialGguf, TensorsAreRefusedForTheirPlace) {
  const auto two = [](std::uint64_t elements, const char* name, std::uint64_t offset) {
    GgufBytes file = GgufBytes().header(2, 0).tensor("a", {elements}, kF32, 0);
    return file.tensor(name, {8}, kF32, offset).pad().zeros(96);
  };
  expect_refused({
      {two(8, "a", 32), {kSecond, "a", contradictory}},
      {two(16, "b", 32), {kSecond, "b", contradictory}},
      {one_tensor({8}, kF32, "a", 32), {kBody, "a", contradictory}},
      {two(1, "b", 4), {kSecond + 8 + 1 + 4 + 8 + 4, "b", contradictory}},
  });
}

TEST(AdversarialGguf, CutAnywhereInTheHeader) {
  const TempFolder folder;
  GgufBytes file;
  file.header(2, 3).key("general.architecture", "llama").strings("list", {"a", "b"});
  file.array<std::uint32_t>("numbers", gguf_type::u32, {1, 2, 3});
  file.tensor("a", {8}, kF32, 0).tensor("b", {8}, kF32, 32);
  const std::size_t end = file.bytes().size();
  for (std::size_t length = 0; length < end; ++length) {
    const auto refusal = refusal_of(folder.write("cut.gguf", file.bytes().substr(0, length)));
    ASSERT_TRUE(refusal) << length;
    EXPECT_LE(refusal->offset, length);
  }
}

TEST(AdversarialGguf, ControlCharactersDoNotReachTheTerminal) {
  const TempFolder folder;
  const auto path = folder.write("bad.gguf", one_tensor({1}, 4, "\x1b[2J").bytes());
  const auto error = thrown<FormatError>([&] { static_cast<void>(read_model(path)); });
  EXPECT_EQ(error.field(), "\\x1b[2J");
  EXPECT_EQ(std::string(error.what()).find('\x1b'), std::string::npos) << error.what();
}

// A sparse file may claim any size: one of a terabyte holds a few kilobytes.
TEST(AdversarialGguf, ClaimsOfASparseTerabyteTakeNoMemory) {
  using namespace gguf_type;
  const TempFolder folder;
  const std::uint64_t many = 1ULL << 35;
  for (const GgufBytes& file :
       {GgufBytes().header(many, 0), GgufBytes().header(0, 1).size(many),
        one_key().number(array).number(u8).size(many), one_key().number(string).size(many),
        one_key().number(array).number(string).size(many)}) {
    const std::filesystem::path path = folder.write("sparse.gguf", file.bytes());
    ASSERT_EQ(::truncate(path.c_str(), off_t{1} << 40), 0);
    EXPECT_LE(heap_use([&] { static_cast<void>(refusal_of(path)); }).peak, 1_MiB);
  }
}

}  // namespace
}  // namespace tapedeck::tests
