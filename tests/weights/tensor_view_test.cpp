#include "tapedeck/weights/tensor_view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tapedeck/base/error.hpp"
#include "weights/made_models.hpp"

namespace tapedeck::tests {
namespace {

TEST(TensorView, GivesItsElements) {
  const float numbers[] = {1, 2, 3};
  const TensorView view = {.dtype = DType::f32, .bytes = std::as_bytes(std::span(numbers))};
  EXPECT_EQ(view.as<float>()[2], 3.0F);
  EXPECT_EQ(view.as<std::uint32_t>().size(), 3U);  // its bits
}

TEST(TensorView, GivesTheBlocksOfAQuantisedType) {
  struct Block {
    std::uint16_t scale;
    std::int8_t quants[32];
  };
  const Block blocks[2] = {{.scale = 7, .quants = {}}, {.scale = 8, .quants = {}}};
  const TensorView view = {.dtype = DType::q8_0, .bytes = std::as_bytes(std::span(blocks))};
  EXPECT_EQ(view.as<Block>()[1].scale, 8U);
}

TEST(TensorView, RefusesElementsOfAnotherSize) {
  const float numbers[] = {1, 2};
  const TensorView view = {
      .name = "a", .dtype = DType::f32, .bytes = std::as_bytes(std::span(numbers))};
  EXPECT_EQ(view.try_as<double>(), std::nullopt);
  EXPECT_THROW(static_cast<void>(view.as<double>()), InvalidArgument);
}

// A header of 65 bytes: f32 data at byte 73.
std::filesystem::path write_misaligned(const TempFolder& folder) {
  std::string header = R"({"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}})";
  header.resize(65, ' ');
  const std::uint64_t length = header.size();
  return folder.write("odd.safetensors",
                      std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
                          random_bytes(4000, 5));
}

TEST(TensorView, OfAMisalignedTensorThatIsMappedRefuses) {
  const TempFolder folder;
  const Weights weights = Weights::open(write_misaligned(folder), {.way = Way::map});
  EXPECT_FALSE(weights[0].aligned);
  EXPECT_EQ(weights[0].try_as<float>(), std::nullopt);
  EXPECT_TRUE(holds_its_files(weights));
  EXPECT_THROW(static_cast<void>(weights[0].as<float>()), InvalidArgument);
}

TEST(TensorView, OfAMisalignedTensorThatIsReadIsAligned) {
  const TempFolder folder;
  for (const Way way : {Way::read, Way::direct, Way::automatic}) {
    SCOPED_TRACE(to_string(way));
    Weights weights = Weights::open(write_misaligned(folder), {.way = way});
    ASSERT_TRUE(weights.warm());
    EXPECT_TRUE(weights[0].aligned);
    EXPECT_EQ(weights[0].as<float>().size(), 1000U);
    EXPECT_TRUE(holds_its_files(weights));
  }
}

}  // namespace
}  // namespace tapedeck::tests
