// SPDX-License-Identifier: Apache-2.0
#include "plan/layer_bytes.hpp"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "plan/refused.hpp"
#include "plan/shapes.hpp"

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;
using ::testing::FieldsAre;

PartId of_every_layer(Part part) { return {.part = part, .every_layer = true}; }

TEST(BytesByLayer, SharesOutWhatAllLayersHaveTogether) {
  ModelShape shape;
  shape.vocabulary = 100;
  shape.layers.resize(4);
  for (std::size_t i = 1; i < 4; ++i) {
    shape.layers[i].experts = 8;
    shape.layers[i].experts_used = i - 1;  // 0: the number is not stated, so all
  }
  shape.layers[3].experts = 7;  // does not divide their bytes evenly
  shape.layers[0].ffn = 64;
  TapePlan tape(TapeKind::weights);
  tape.append(weight_region({.part = Part::embedding}, 1000));
  tape.append(weight_region(of_every_layer(Part::norm), 256));
  tape.append(weight_region(of_every_layer(Part::expert_up), 1920));
  tape.append(weight_region(of_every_layer(Part::up), 128));
  tape.append(weight_region({.layer = 2, .part = Part::up, .tower = Tower::vision}, 256));
  tape.append(weight_region({.part = Part::head}, 400));
  const internal::LayerBytes bytes = internal::bytes_by_layer(tape, shape);
  EXPECT_THAT(bytes.layers,
              ElementsAre(FieldsAre(64 + 128, 64 + 128), FieldsAre(64 + 640, 64 + 640),
                          FieldsAre(704, 64 + 80), FieldsAre(704, 64 + 183)));
  EXPECT_EQ(bytes.rest, 1024U + 256 + 448);
}

TEST(BytesByLayer, HasLayersThatTheShapeHasNot) {
  TapePlan tape(TapeKind::weights);
  tape.append(weight_region({.layer = 2, .part = Part::expert_up}, 128));
  const internal::LayerBytes bytes = internal::bytes_by_layer(tape, {});
  EXPECT_THAT(bytes.layers, ElementsAre(FieldsAre(0, 0), FieldsAre(0, 0), FieldsAre(128, 128)));
}

// A plan that fits may be one that does not fit when its parts are rounded up.
TEST(BytesByLayer, RefusesPaddingBeyond64Bits) {
  ModelShape shape;
  shape.layers.resize(1);
  Region cache = weight_region({.part = Part::key_cache}, ~std::uint64_t{0} - 2048);
  cache.alignment = 4096;
  for (const std::optional<std::uint32_t> layer : {std::optional(0U), std::optional<unsigned>()}) {
    cache.id.layer = layer;
    TapePlan tape(TapeKind::history);
    tape.append(cache);
    EXPECT_EQ(refused([&] { return internal::bytes_by_layer(tape, shape); }), kTooLarge);
  }
}

}  // namespace
}  // namespace tapedeck::tests
