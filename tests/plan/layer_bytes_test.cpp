#include "plan/layer_bytes.hpp"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>

namespace tapedeck::tests {
namespace {

using ::testing::ElementsAre;

Region weight_region(const PartId& id, std::uint64_t bytes) {
  static int regions = 0;  // names of one plan differ
  return {.id = id,
          .name = "region " + std::to_string(++regions),
          .role = RegionRole::weight,
          .bytes = bytes};
}

PartId of_every_layer(Part part) { return {.part = part, .every_layer = true}; }

TEST(BytesByLayer, SharesOutWhatAllLayersHaveTogether) {
  ModelShape shape;
  shape.vocabulary = 100;
  shape.layers.resize(4);
  for (std::size_t i = 1; i < 4; ++i) shape.layers[i].experts = 8;
  shape.layers[0].ffn = 64;
  TapePlan tape(TapeKind::weights);
  tape.append(weight_region({.part = Part::embedding}, 1000));
  tape.append(weight_region(of_every_layer(Part::norm), 256));
  tape.append(weight_region(of_every_layer(Part::expert_up), 1920));
  tape.append(weight_region(of_every_layer(Part::up), 128));
  tape.append(weight_region({.layer = 2, .part = Part::up, .tower = Tower::vision}, 256));
  tape.append(weight_region({.part = Part::head}, 400));
  const internal::LayerBytes bytes = internal::bytes_by_layer(tape, shape);
  EXPECT_THAT(bytes.layers, ElementsAre(64 + 128, 64 + 640, 704, 704));
  EXPECT_THAT(bytes.experts, ElementsAre(0, 640, 640, 640));
  EXPECT_EQ(bytes.rest, 1024U + 256 + 448);
  EXPECT_EQ(bytes.largest(), 704U);
}

TEST(BytesByLayer, HasLayersThatTheShapeHasNot) {
  TapePlan tape(TapeKind::weights);
  tape.append(weight_region({.layer = 2, .part = Part::expert_up}, 128));
  const internal::LayerBytes bytes = internal::bytes_by_layer(tape, {});
  EXPECT_THAT(bytes.layers, ElementsAre(0, 0, 128));
  EXPECT_THAT(bytes.experts, ElementsAre(0, 0, 128));
}

}  // namespace
}  // namespace tapedeck::tests
