// SPDX-License-Identifier: Apache-2.0
#include "plan/streaming_layers.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kMostGap = 4096;
constexpr std::uint64_t kPartAlignment = 16;
// A header can claim any number of experts, each of which has parts. Published models have up
// to about 300,000 such parts.
constexpr std::uint64_t kMostExpertParts = std::uint64_t{1} << 20;

/// Cuts tensors into the parts of layers and experts.
class LayerCutter {
 public:
  explicit LayerCutter(const ModelShape& shape) : shape_(shape) {}

  void add_tensor(std::uint32_t tensor, const TensorEntry& entry) {
    const std::optional<std::uint32_t> number = entry.id.text_layer();
    if (entry.bytes == 0) return;
    if (entry.id.every_layer && divides(shape_.layers.size(), entry.bytes)) {
      share_out(tensor, entry.bytes / shape_.layers.size());
    } else if (entry.id.every_layer || !number) {
      out_.outer.push_back(tensor);
    } else if (!add_experts(*number, tensor, entry)) {
      layer(*number).parts.push_back({.tensor = tensor, .bytes = entry.bytes});
    }
  }

  [[nodiscard]] StreamingPlan take() && { return std::move(out_); }

 private:
  static bool divides(std::uint64_t count, std::uint64_t bytes) {
    return count != 0 && bytes % count == 0;
  }

  void share_out(std::uint32_t tensor, std::uint64_t share) {
    for (std::size_t i = 0; i < shape_.layers.size(); ++i) {
      layer(i).parts.push_back({.tensor = tensor, .from = i * share, .bytes = share});
    }
  }

  // Returns false if it is not known which bytes belong to which expert. Then every token needs
  // them.
  bool add_experts(std::uint32_t number, std::uint32_t tensor, const TensorEntry& entry) {
    const std::uint64_t experts = number < shape_.layers.size() ? shape_.layers[number].experts : 0;
    if (!is_expert(entry.id.part) || experts >= StreamedPart::kNoExpert) return false;
    if (const std::optional<std::uint32_t> expert = entry.id.expert) {
      if (*expert >= experts) return false;
      layer(number).parts.push_back({.tensor = tensor, .expert = *expert, .bytes = entry.bytes});
    } else {
      if (entry.rank < 2 || entry.dimensions[0] != experts || !divides(experts, entry.bytes)) {
        return false;
      }
      add_stacked_experts(number, tensor, entry.bytes / experts, experts);
    }
    layer(number).experts = experts;
    return true;
  }

  void add_stacked_experts(std::uint32_t number, std::uint32_t tensor, std::uint64_t share,
                           std::uint64_t experts) {
    expert_parts_ += experts;
    if (expert_parts_ > kMostExpertParts) {
      throw InvalidArgument(
          {.argument = "LayerShape::experts", .value = expert_parts_, .limit = kMostExpertParts},
          "the model states more experts than any known model has: " + std::to_string(experts) +
              " in one layer");
    }
    for (std::uint32_t expert = 0; expert < experts; ++expert) {
      layer(number).parts.push_back(
          {.tensor = tensor, .expert = expert, .from = expert * share, .bytes = share});
    }
  }

  StreamedLayer& layer(std::size_t number) {
    if (number >= out_.layers.size()) out_.layers.resize(number + 1);
    return out_.layers[number];
  }

  const ModelShape& shape_;
  StreamingPlan out_;
  std::uint64_t expert_parts_ = 0;
};

/// Sets the offsets of the parts of a layer, run by run.
void arrange_parts(StreamedLayer& layer, std::span<const TensorEntry> tensors) {
  const auto file_and_byte = [&](const StreamedPart& part) {
    const TensorEntry& tensor = tensors[part.tensor];
    return std::pair(tensor.file, tensor.offset + part.from);
  };
  std::ranges::sort(layer.parts, {}, file_and_byte);
  std::uint32_t run_file = 0;
  std::uint64_t run_begin = 0;   // In the file.
  std::uint64_t run_offset = 0;  // On the device.
  std::uint64_t end = 0;         // Where the previous part ends in its file.
  for (StreamedPart& part : layer.parts) {
    const auto [file, begin] = file_and_byte(part);
    // If two parts overlap, the unsigned gap wraps around and is too large.
    const bool continues = layer.bytes != 0 && file == run_file && begin - end <= kMostGap &&
                           (begin - run_begin) % kPartAlignment == 0;
    if (!continues) {
      run_file = file;
      run_begin = begin;
      run_offset = up_to_multiple(layer.bytes, kDeviceAlignment);
    }
    part.offset = fits(CheckedSize(run_offset) + (begin - run_begin));
    layer.bytes = fits(CheckedSize(part.offset) + part.bytes);
    end = begin + part.bytes;
  }
  layer.bytes = up_to_multiple(layer.bytes, kDeviceAlignment);
}

}  // namespace

StreamingPlan lay_out_layers(const Model& model) {
  const std::span<const TensorEntry> tensors = model.tensors.entries();
  LayerCutter cutter(model.shape);
  for (std::uint32_t i = 0; i < tensors.size(); ++i) cutter.add_tensor(i, tensors[i]);
  StreamingPlan out = std::move(cutter).take();
  for (StreamedLayer& layer : out.layers) arrange_parts(layer, tensors);
  return out;
}

}  // namespace tapedeck::internal
