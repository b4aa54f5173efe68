// SPDX-License-Identifier: Apache-2.0
#include "tapedeck/weights/tensor_view.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/thrown.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::tests {
namespace {

TEST(TensorView, GivesItsElements) {
  const float numbers[] = {1, 2, 3};
  const TensorView view = {.dtype = DType::f32, .bytes = std::as_bytes(std::span(numbers))};
  EXPECT_EQ(view.as<float>()[2], 3.0F);
  EXPECT_EQ(view.as<std::uint32_t>().size(), 3U);  // as bits
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

TEST(TensorView, RefusesElementsOfAnotherSizeOrAtAnotherAlignment) {
  const float numbers[] = {1, 2};
  TensorView view = {.dtype = DType::f32, .bytes = std::as_bytes(std::span(numbers))};
  EXPECT_EQ(view.try_as<double>(), std::nullopt);
  const auto wide = thrown<InvalidArgument>([&] { return view.as<double>(); });
  EXPECT_EQ(wide.argument(), "T");
  EXPECT_EQ(wide.value(), sizeof(double));
  EXPECT_EQ(wide.limit(), sizeof(float));
  view.bytes = view.bytes.subspan(1, 4);
  EXPECT_EQ(view.try_as<float>(), std::nullopt);
  const auto odd = thrown<InvalidArgument>([&] { return view.as<float>(); });
  EXPECT_EQ(odd.argument(), "T");
  EXPECT_EQ(odd.limit(), alignof(float));
}

}  // namespace
}  // namespace tapedeck::tests
