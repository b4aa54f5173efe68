// SPDX-License-Identifier: Apache-2.0
/// @file
/// A `Stat` in which every figure has a different number, and the figures of a `Stat` by place.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>

#include "tapedeck/layout/stat.hpp"
#include "tapedeck/layout/stat_fields.hpp"

namespace tapedeck::tests {

/// The figures by place, tape and name: "host.scratch.used", "gpu0.tokens", "layout.passes".
using EveryFigure = std::map<std::string, std::uint64_t>;

/// All numbers are smaller than a KiB, so that text shows them exactly.
[[nodiscard]] inline Stat numbered_stat(std::size_t gpus) {
  Stat stat;
  std::uint64_t number = 100;
  const auto number_all = [&number](auto fields, auto& figures) {
    for (const auto& field : fields) {
      if (field.member != nullptr) figures.*field.member = ++number;
    }
  };
  const auto number_tapes = [&](auto& of) {
    for (TapeStat* const tape : {&of.weights, &of.scratch, &of.history}) {
      number_all(tape_fields(), *tape);
    }
  };
  number_all(layout_fields(), stat);
  number_tapes(stat);
  stat.gpus = gpus;
  for (std::size_t i = 0; i < gpus; ++i) {
    number_all(device_fields(), stat.gpu.at(i));
    number_tapes(stat.gpu.at(i));
  }
  return stat;
}

[[nodiscard]] inline EveryFigure every_figure(const Stat& stat) {
  EveryFigure all;
  const auto add = [&all](const std::string& place, auto fields, const auto& figures) {
    for (const auto& field : fields) all[place + "." + field.name] = field.of(figures);
  };
  const auto add_tapes = [&add](const std::string& place, const auto& of) {
    add(place + ".weights", tape_fields(), of.weights);
    add(place + ".scratch", tape_fields(), of.scratch);
    add(place + ".history", tape_fields(), of.history);
  };
  add("layout", layout_fields(), stat);
  add_tapes("host", stat);
  for (std::size_t i = 0; i < stat.gpus; ++i) {
    const std::string place = "gpu" + std::to_string(i);
    add(place, device_fields(), stat.gpu.at(i));
    add_tapes(place, stat.gpu.at(i));
  }
  return all;
}

/// One test for every format that a `Stat` is exported in: each figure must be there, with its name
/// and value. A format is a struct with `told`, which exports a stat and returns what was exported.
template <class Format>
class EveryFormat : public ::testing::Test {};

TYPED_TEST_SUITE_P(EveryFormat);

TYPED_TEST_P(EveryFormat, HasEveryFigure) {
  for (const std::size_t gpus : {0U, 2U}) {
    const Stat stat = numbered_stat(gpus);
    EXPECT_EQ(TypeParam::told(stat), every_figure(stat));
  }
}

REGISTER_TYPED_TEST_SUITE_P(EveryFormat, HasEveryFigure);

}  // namespace tapedeck::tests
