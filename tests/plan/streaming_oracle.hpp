// SPDX-License-Identifier: Apache-2.0
/// @file
/// Checks a `StreamingPlan` by deriving it from the model's tensors in a different manner.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "plan/refused.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::tests {

inline constexpr std::uint64_t kWholeRegion = 256;

/// Expects that every byte of every tensor has exactly one place.
inline void expect_every_byte_once(const Model& model, const StreamingPlan& plan) {
  std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> ranges;  // of each tensor
  const auto add = [&](std::uint32_t tensor, std::uint64_t from, std::uint64_t bytes) {
    EXPECT_NE(bytes, 0U);
    EXPECT_TRUE(ranges[tensor].emplace(from, bytes).second);
  };
  for (const StreamedLayer& layer : plan.layers) {
    for (const StreamedPart& part : layer.parts) add(part.tensor, part.from, part.bytes);
  }
  for (std::size_t i = 0; i < plan.outer.size(); ++i) {
    const Region& region = plan.device.regions()[i];
    EXPECT_EQ(region.name, model.tensors.entries()[plan.outer[i]].name);
    add(plan.outer[i], 0, region.bytes);
  }
  for (std::uint32_t i = 0; i < model.tensors.entries().size(); ++i) {
    std::uint64_t end = 0;
    for (const auto& [from, bytes] : ranges[i]) {
      EXPECT_EQ(from, end) << model.tensors.entries()[i].name;
      end = from + bytes;
    }
    EXPECT_EQ(end, model.tensors.entries()[i].bytes) << model.tensors.entries()[i].name;
  }
}

/// Expects that parts that are neighbors in their file keep their distance, and that all others
/// begin a run.
inline void expect_runs(const Model& model, const StreamedLayer& layer) {
  const auto in_file = [&](const StreamedPart& part) {
    return model.tensors.entries()[part.tensor].offset + part.from;
  };
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < layer.parts.size(); ++i) {
    const StreamedPart& part = layer.parts[i];
    EXPECT_EQ(part.offset % 16, 0U);
    EXPECT_GE(part.offset, end);
    const std::uint64_t padded = round_up(end, kWholeRegion);
    end = part.offset + part.bytes;
    if (i == 0) {
      EXPECT_EQ(part.offset, 0U);
      continue;
    }
    const StreamedPart& before = layer.parts[i - 1];
    const bool one_file =
        model.tensors.entries()[before.tensor].file == model.tensors.entries()[part.tensor].file;
    const std::uint64_t distance = in_file(part) - in_file(before);  // wraps around if negative
    const bool near = distance >= before.bytes && distance - before.bytes <= 4096;
    if (one_file && near && distance % 16 == 0) {
      EXPECT_EQ(part.offset - before.offset, distance);
    } else {
      EXPECT_EQ(part.offset, padded);
    }
  }
  EXPECT_EQ(layer.bytes, round_up(end, kWholeRegion));
}

/// The bytes that a token copies of a layer whose experts have the same size.
inline std::uint64_t token_bytes_of(const StreamedLayer& layer, std::uint64_t used) {
  std::uint64_t bytes = 0;
  std::map<std::uint32_t, std::uint64_t> experts;
  for (const StreamedPart& part : layer.parts) {
    (part.expert == StreamedPart::kNoExpert ? bytes : experts[part.expert]) += part.bytes;
  }
  if (used == 0) used = experts.size();
  for (const auto& [expert, size] : experts) {
    EXPECT_LT(expert, layer.experts);
    EXPECT_EQ(size, experts.begin()->second) << "of one layer, but not alike";
    if (used == 0) break;
    bytes += size;
    --used;
  }
  return bytes;
}

/// The size of the weights on the device if the first `stay` layers stay there.
inline std::uint64_t device_bytes_with(const Model& model, const StreamingPlan& plan,
                                       std::size_t stay, std::uint64_t slots) {
  std::uint64_t bytes = 0;
  for (const std::uint32_t tensor : plan.outer) {
    bytes += round_up(model.tensors.entries()[tensor].bytes, kWholeRegion);
  }
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    if (i < stay) {
      bytes += plan.layers[i].bytes;
    } else {
      largest = std::max(largest, plan.layers[i].bytes);
    }
  }
  return bytes + slots * largest;
}

inline void expect_regions(const StreamingPlan& plan) {
  std::uint64_t end = 0;
  for (const Region& region : plan.device.regions()) {
    EXPECT_EQ(region.offset % kWholeRegion, 0U) << region.name;
    EXPECT_EQ(region.alignment % kWholeRegion, 0U) << region.name;
    EXPECT_GE(region.offset, end) << region.name;
    end = region.offset + region.bytes;
  }
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < plan.layers.size(); ++i) {
    const StreamedLayer& layer = plan.layers[i];
    EXPECT_EQ(layer.resident.has_value(), i < plan.resident_layers());  // the first ones stay
    if (!layer.resident) {
      largest = std::max(largest, layer.bytes);
      continue;
    }
    const Region& region = plan.device.regions()[*layer.resident];
    EXPECT_EQ(region.name, "resident." + std::to_string(i));
    EXPECT_EQ(region.bytes, layer.bytes);
  }
  EXPECT_EQ(plan.slot_bytes(), largest);
  for (std::uint64_t i = 0; i < plan.slots; ++i) {
    const Region& region = plan.device.regions().last(plan.slots)[i];
    EXPECT_EQ(region.name, "slot." + std::to_string(i));
    EXPECT_EQ(region.bytes, largest);
  }
  EXPECT_EQ(plan.device.regions().size(), plan.outer.size() + plan.resident_layers() + plan.slots);
}

/// Expects everything that must hold for any plan.
inline void expect_sound(const Model& model, const StreamingPlan& plan,
                         const StreamingOptions& options) {
  expect_every_byte_once(model, plan);
  for (const StreamedLayer& layer : plan.layers) expect_runs(model, layer);
  expect_regions(plan);
  std::uint64_t token = 0;
  for (std::size_t i = plan.resident_layers(); i < plan.layers.size(); ++i) {
    token += token_bytes_of(plan.layers[i],
                            i < model.shape.layers.size() ? model.shape.layers[i].experts_used : 0);
  }
  EXPECT_EQ(plan.token_bytes, token);
  EXPECT_EQ(plan.one_slot_bytes, device_bytes_with(model, plan, 0, 1));
  const auto refused_with = [&](std::uint64_t bytes) {
    return refused(
        [&] { return plan_streaming(model, {.slots = options.slots, .device_bytes = bytes}); });
  };
  EXPECT_EQ(refused_with(plan.least_bytes), Refused{});
  if (plan.least_bytes != 0) {
    EXPECT_EQ(refused_with(plan.least_bytes - 1).limit, plan.least_bytes);
  }
  EXPECT_EQ(plan.device.bytes(),
            device_bytes_with(model, plan, plan.resident_layers(), options.slots));
  EXPECT_EQ(plan.slots, plan.resident_layers() == plan.layers.size() ? 0 : options.slots);
  ASSERT_EQ(plan.staging.regions().size(), options.staging_buffers);
  for (const Region& region : plan.staging.regions()) {
    EXPECT_EQ(region.bytes, options.staging_buffer);
    EXPECT_EQ(region.offset % 4096, 0U);
  }
}

/// The maximum number of layers that can stay in this many bytes; `nullopt` if not even the slots
/// fit.
inline std::optional<std::size_t> expected_resident(const Model& model, const StreamingPlan& plan,
                                                    std::uint64_t bytes, std::uint64_t slots) {
  std::optional<std::size_t> most;
  for (std::size_t stay = 0; stay <= plan.layers.size(); ++stay) {
    if (device_bytes_with(model, plan, stay, slots) <= bytes) most = stay;
  }
  return most;
}

}  // namespace tapedeck::tests
