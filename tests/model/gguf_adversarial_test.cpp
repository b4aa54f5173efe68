// GGUF files that are wrong in one thing each.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/counting_heap.hpp"
#include "model/gguf_bytes.hpp"
#include "model/refusal.hpp"
#include "os/temp_folder.hpp"
#include "tapedeck/base/bytes.hpp"

namespace tapedeck::tests {
namespace {

class AdversarialGguf : public testing::Test {
 protected:
  testing::AssertionResult refused_at(const GgufBytes& file, std::uint64_t offset,
                                      const std::string& reason) {
    return refused(folder_.write("bad.gguf", file.bytes()), offset, reason);
  }
  /// The byte at which the first pair or tensor begins.
  static constexpr std::uint64_t kBody = 24;

  TempFolder folder_;
};

TEST_F(AdversarialGguf, BigEndian) {
  GgufBytes file(0x03000000);
  file.header(0, 0);
  EXPECT_TRUE(refused_at(file, 4, "big-endian"));
}

TEST_F(AdversarialGguf, Versions) {
  for (const std::uint32_t version : {0U, 4U, 0xffffffffU}) {
    EXPECT_TRUE(refused_at(GgufBytes(version).header(0, 0), 4, "version"));
  }
}

TEST_F(AdversarialGguf, CountsBeyondTheFile) {
  EXPECT_TRUE(refused_at(GgufBytes().header(1, 0), 8, "the number of tensors is 1"));
  EXPECT_TRUE(refused_at(GgufBytes().header(0, 1), 16, "the number of keys is 1"));
  EXPECT_TRUE(refused_at(GgufBytes(1).header(0xffffffff, 0), 8, "4294967295"));
}

TEST_F(AdversarialGguf, MoreKeysThanAnyModelHas) {
  GgufBytes file;
  file.header(0, (1 << 16) + 1).zeros(1_MiB);
  EXPECT_TRUE(refused_at(file, kBody, "65537 keys"));
}

TEST_F(AdversarialGguf, Keys) {
  EXPECT_TRUE(refused_at(GgufBytes().header(0, 1).key("", gguf_type::u8, std::uint8_t{0}).zeros(9),
                         kBody, "an empty key"));
  EXPECT_TRUE(refused_at(GgufBytes().header(0, 1).key(std::string(65536, 'k'), "v"), kBody,
                         "at most 65535"));
}

TEST_F(AdversarialGguf, Values) {
  EXPECT_TRUE(refused_at(GgufBytes().header(0, 1).key("k", 13, std::uint64_t{0}), kBody + 9,
                         "unknown type 13"));
  GgufBytes nested;
  nested.header(0, 1).string("k").number(gguf_type::array).number(gguf_type::array).size(0);
  EXPECT_TRUE(refused_at(nested, kBody + 13, "array of arrays"));
  GgufBytes long_array;
  long_array.header(0, 1).string("k").number(gguf_type::array).number(gguf_type::u64);
  long_array.size((1ULL << 61) + 1).number(std::uint64_t{0});  // times 8 wraps to 8
  EXPECT_TRUE(refused_at(long_array, kBody + 17, "2305843009213693953"));
  GgufBytes text;
  text.header(0, 1).string("k").number(gguf_type::string).size(~std::uint64_t{0}).zeros(8);
  EXPECT_TRUE(refused_at(text, kBody + 13, "has 18446744073709551615 bytes"));
}

TEST_F(AdversarialGguf, Alignment) {
  for (const std::uint32_t alignment : {0U, 3U, 48U}) {
    GgufBytes file;
    file.header(0, 1).key("general.alignment", gguf_type::u32, alignment);
    EXPECT_TRUE(refused_at(file, kBody, "power of two")) << alignment;
  }
  GgufBytes huge;
  huge.header(0, 1).key("general.alignment", gguf_type::u64, std::uint64_t{1} << 63);
  EXPECT_TRUE(refused_at(huge, kBody, "power of two"));
  GgufBytes text;
  text.header(0, 1).key("general.alignment", "32");
  EXPECT_TRUE(refused_at(text, kBody, "power of two"));
}

TEST_F(AdversarialGguf, TensorShapes) {
  const auto shaped = [](const std::vector<std::uint64_t>& dimensions, std::uint32_t type) {
    GgufBytes file;
    file.header(1, 0).tensor("a", dimensions, type, 0).pad().zeros(64);
    return file;
  };
  const std::uint64_t half = 1ULL << 63;
  EXPECT_TRUE(refused_at(shaped({1, 1, 1, 1, 1}, kF32), kBody + 9, "5 dimensions"));
  EXPECT_TRUE(refused_at(shaped({half}, kF32), kBody, "more elements"));
  EXPECT_TRUE(refused_at(shaped({1ULL << 32, 1ULL << 32}, kF32), kBody, "more elements"));
  // The product is 0 in 64 bits, and 0 as well because of the last one.
  EXPECT_TRUE(refused_at(shaped({1ULL << 32, 1ULL << 32, 4}, kF32), kBody, "more elements"));
  EXPECT_TRUE(refused_at(shaped({0, half}, kF32), kBody, "more elements"));
  EXPECT_TRUE(refused_at(shaped({1ULL << 62}, kF32), kBody, "more bytes"));
  EXPECT_TRUE(refused_at(shaped({1ULL << 60}, 28), kBody, "ends beyond any file"));
  EXPECT_TRUE(refused_at(shaped({33}, 2), kBody, "no whole blocks of q4_0"));
  EXPECT_TRUE(refused_at(shaped({16, 2}, 2), kBody, "no whole blocks of q4_0"));
}

TEST_F(AdversarialGguf, TensorTypes) {
  for (const std::uint32_t type : {4U, 5U, 31U, 32U, 33U, 36U, 37U, 38U, 43U, 0xffffffffU}) {
    GgufBytes file;
    file.header(1, 0).tensor("a", {32}, type, 0).pad().zeros(256);
    EXPECT_TRUE(refused_at(file, kBody + 9 + 4 + 8, "has the type " + std::to_string(type)));
  }
}

TEST_F(AdversarialGguf, MoreStringsThanAnyVocabularyHas) {
  GgufBytes file;
  file.header(0, 1).string("k").number(gguf_type::array).number(gguf_type::string);
  const std::uint64_t count = file.at();
  file.size((1 << 24) + 1);
  const std::filesystem::path path = folder_.write("bad.gguf", file.bytes());
  std::filesystem::resize_file(path, 256_MiB);
  EXPECT_TRUE(refused(path, count, "16777217 strings"));
}

TEST_F(AdversarialGguf, TensorNames) {
  EXPECT_TRUE(refused_at(GgufBytes().header(1, 0).tensor("", {1}, kF32, 0).pad().zeros(32), kBody,
                         "without a name"));
  const auto named = [](std::size_t length) {
    GgufBytes file;
    file.header(1, 0).tensor(std::string(length, 'n'), {1}, kF32, 0).pad().zeros(32);
    return file;
  };
  EXPECT_EQ(refusal_of(folder_.write("good.gguf", named(64).bytes())).text, "");
  EXPECT_TRUE(refused_at(named(65), kBody, "at most 64"));
}

TEST_F(AdversarialGguf, TwoTensorsOfOneName) {
  GgufBytes file;
  file.header(3, 0).tensor("a", {8}, kF32, 0).tensor("b", {8}, kF32, 32);
  const std::uint64_t second = file.at();
  file.tensor("a", {8}, kF32, 64).pad().zeros(96);
  EXPECT_TRUE(refused_at(file, second, "a second tensor called a"));
}

TEST_F(AdversarialGguf, TensorsThatOverlapOrLeaveHoles) {
  GgufBytes overlap;
  overlap.header(2, 0).tensor("a", {16}, kF32, 0);
  const std::uint64_t second = overlap.at();
  overlap.tensor("b", {8}, kF32, 32).pad().zeros(96);
  EXPECT_TRUE(refused_at(overlap, second, "b begins at 32 of the data, and not at 64"));
  GgufBytes hole;
  hole.header(1, 0).tensor("a", {8}, kF32, 32).pad().zeros(64);
  EXPECT_TRUE(refused_at(hole, kBody, "a begins at 32 of the data, and not at 0"));
}

TEST_F(AdversarialGguf, OffsetsOffTheAlignment) {
  GgufBytes file;
  file.header(2, 0).tensor("a", {1}, kF32, 0);
  const std::uint64_t second = file.at();
  file.tensor("b", {1}, kF32, 4).pad().zeros(64);
  EXPECT_TRUE(refused_at(file, second + 9 + 4 + 8 + 4, "b lies at 4, no multiple"));
}

TEST_F(AdversarialGguf, CutAnywhereInTheHeader) {
  GgufBytes file;
  file.header(2, 3).key("general.architecture", "llama").strings("list", {"a", "b"});
  file.array<std::uint32_t>("numbers", gguf_type::u32, {1, 2, 3});
  file.tensor("a", {8}, kF32, 0).tensor("b", {8}, kF32, 32);
  const std::size_t end = file.bytes().size();
  for (std::size_t length = 0; length < end; ++length) {
    const Refusal refusal = refusal_of(folder_.write("cut.gguf", file.bytes().substr(0, length)));
    ASSERT_TRUE(refusal.format_error) << length << ": " << refusal.text;
    EXPECT_LE(refusal.offset, length);
  }
}

TEST_F(AdversarialGguf, ControlCharactersDoNotReachTheTerminal) {
  GgufBytes file;
  file.header(1, 0).tensor("\x1b[2J", {1}, 4, 0).pad().zeros(32);
  const Refusal refusal = refusal_of(folder_.write("bad.gguf", file.bytes()));
  EXPECT_TRUE(refusal.format_error);
  EXPECT_EQ(refusal.text.find('\x1b'), std::string::npos) << refusal.text;
}

// A file system may claim any size: a sparse file of a terabyte holds a few kilobytes.
TEST_F(AdversarialGguf, ClaimsOfASparseTerabyteTakeNoMemory) {
  const std::uint64_t many = 1ULL << 35;
  GgufBytes tensors;
  tensors.header(many, 0);
  GgufBytes name;
  name.header(0, 1).size(many);
  GgufBytes array;
  array.header(0, 1).string("k").number(gguf_type::array).number(gguf_type::u8).size(many);
  GgufBytes text;
  text.header(0, 1).string("k").number(gguf_type::string).size(many);
  GgufBytes strings;
  strings.header(0, 1).string("k").number(gguf_type::array).number(gguf_type::string).size(many);
  for (const GgufBytes* file : {&tensors, &name, &array, &text, &strings}) {
    const std::filesystem::path path = folder_.write("sparse.gguf", file->bytes());
    ASSERT_EQ(::truncate(path.c_str(), off_t{1} << 40), 0);
    EXPECT_LE(peak_heap([&] { static_cast<void>(refusal_of(path)); }), 1_MiB);
  }
}

}  // namespace
}  // namespace tapedeck::tests
