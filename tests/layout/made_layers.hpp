// SPDX-License-Identifier: Apache-2.0
/// @file
/// A generated model whose every byte is known, and the plan to stream its layers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "memory/pattern.hpp"
#include "model/tensor_directory_builder.hpp"
#include "tapedeck/base/bytes.hpp"
#include "tapedeck/base/checked.hpp"
#include "tapedeck/device/device_span.hpp"
#include "tapedeck/device/device_tape.hpp"
#include "tapedeck/layout/layer_streamer.hpp"
#include "tapedeck/plan/streaming_plan.hpp"

namespace tapedeck::tests {

struct LayersToMake {
  std::size_t layers = 6;
  std::uint64_t slots = 2;
  std::size_t resident = 0;  ///< How many of the first layers stay on the device.
  std::size_t parts = 3;
  std::size_t experts = 0;        ///< Each has as many parts as the layer has outside its experts.
  std::size_t part_bytes = 1000;  ///< The maximum size of a part.
  std::size_t gap = 64;           ///< Bytes between two tensors on the host.
  std::uint64_t staging_buffer = 512;
  std::uint64_t staging_buffers = 3;
  std::uint64_t seed = 1;
};

/// Tensor n contains pattern n.
class MadeLayers {
 public:
  explicit MadeLayers(const LayersToMake& make) : make_(make), random_(make.seed) {
    add_tensor(100 + random_() % make.part_bytes);  // a tensor outside the layers
    for (std::size_t i = 0; i < make.layers; ++i) add_layer();
    write_tensors();
    place();
  }

  [[nodiscard]] const StreamingPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] const TensorDirectory& directory() const noexcept { return directory_; }
  [[nodiscard]] const std::vector<std::span<const std::byte>>& tensors() const noexcept {
    return tensors_;
  }

  /// Whether a layer is at `at`: all of its parts, or only those outside the experts and of these
  /// experts.
  [[nodiscard]] bool is_at(std::size_t layer, const std::byte* at,
                           std::span<const std::uint32_t> experts = {}) const noexcept {
    return std::all_of(
        plan_.layers[layer].parts.begin(), plan_.layers[layer].parts.end(),
        [&](const StreamedPart& part) {
          const bool of_others =
              part.expert != StreamedPart::kNoExpert && !experts.empty() &&
              std::find(experts.begin(), experts.end(), part.expert) == experts.end();
          return of_others || Pattern(part.tensor).is_at(at + part.offset, part.bytes);
        });
  }
  [[nodiscard]] bool outer_is_at(const std::byte* base) const noexcept {
    const Region& region = plan_.device.regions()[0];
    return Pattern(0).is_at(base + region.offset, region.bytes);
  }

 private:
  std::uint32_t add_tensor(std::size_t bytes) {
    sizes_.push_back(bytes);
    return static_cast<std::uint32_t>(sizes_.size() - 1);
  }

  void add_layer() {
    StreamedLayer layer;
    layer.experts = make_.experts;
    const auto add_part = [&](std::uint32_t expert) {
      const std::uint64_t bytes = 1 + random_() % make_.part_bytes;
      layer.parts.push_back(
          {.tensor = add_tensor(bytes), .expert = expert, .bytes = bytes, .offset = layer.bytes});
      layer.bytes = round_up(layer.bytes + bytes, std::uint64_t{16}) + make_.gap;
    };
    for (std::size_t i = 0; i < make_.parts; ++i) {
      add_part(StreamedPart::kNoExpert);
      for (std::uint32_t e = 0; e < make_.experts; ++e) add_part(e);
    }
    plan_.layers.push_back(std::move(layer));
  }

  // One after the other, with the same distances as in their layer.
  void write_tensors() {
    std::vector<std::size_t> begins;
    std::size_t end = 0;
    for (const std::size_t bytes : sizes_) {
      begins.push_back(end);
      end = round_up(end + bytes, std::size_t{16}) + make_.gap;
    }
    host_.resize(end);
    internal::TensorDirectoryBuilder builder;
    builder.begin_file({.path = "made.safetensors", .size = end, .data_end = end});
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      Pattern(i).write(host_.data() + begins[i], sizes_[i]);
      tensors_.emplace_back(host_.data() + begins[i], sizes_[i]);
      const std::string name = "tensor." + std::to_string(i);
      builder.add({.name = name, .dtype = DType::u8, .offset = begins[i], .bytes = sizes_[i]}, 0);
    }
    directory_ = std::move(builder).finish();
  }

  void place() {
    plan_.device.append({.name = "outer", .bytes = sizes_[0], .alignment = 256});
    plan_.outer.push_back(0);
    std::uint64_t largest = 0;
    for (std::size_t i = 0; i < plan_.layers.size(); ++i) {
      StreamedLayer& layer = plan_.layers[i];
      if (i >= make_.resident) {
        largest = std::max(largest, layer.bytes);
        continue;
      }
      layer.resident = static_cast<std::uint32_t>(plan_.device.regions().size());
      plan_.device.append(
          {.name = "resident." + std::to_string(i), .bytes = layer.bytes, .alignment = 256});
    }
    plan_.slots = make_.resident == make_.layers ? 0 : make_.slots;
    for (std::uint64_t i = 0; i < plan_.slots; ++i) {
      plan_.device.append(
          {.name = "slot." + std::to_string(i), .bytes = largest, .alignment = 256});
    }
    for (std::uint64_t i = 0; i < make_.staging_buffers; ++i) {
      plan_.staging.append(
          {.name = "staging." + std::to_string(i), .bytes = make_.staging_buffer, .alignment = 64});
    }
  }

  LayersToMake make_;
  std::mt19937_64 random_;
  std::vector<std::size_t> sizes_;
  std::vector<std::byte> host_;
  StreamingPlan plan_;
  TensorDirectory directory_;
  std::vector<std::span<const std::byte>> tensors_;
};

/// A streamer of such layers, and its place on a device.
class StreamedOnDevice {
 public:
  StreamedOnDevice(Device& device, const MadeLayers& made, const LayerStreamerOptions& options = {})
      : tape(DeviceTape::start(device, made.plan().device.bytes(), {.name = "weights"})),
        place(tape.take<std::byte>(made.plan().device.bytes())),
        streamer(device, made.plan(), place, made.directory(), made.tensors(), options) {}

  DeviceTape tape;
  DeviceSpan<std::byte> place;
  LayerStreamer streamer;
};

}  // namespace tapedeck::tests
