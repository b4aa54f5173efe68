#include "plan/streaming_layers.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

constexpr std::uint64_t kMostGap = 4096;
constexpr std::uint64_t kPartAlignment = 16;
// A header can claim any number of experts, and each is a part; published models have some 300,000.
constexpr std::uint64_t kMostExpertParts = std::uint64_t{1} << 20;

/// Cuts tensors into the parts of layers and experts.
class Cutter {
 public:
  explicit Cutter(const Model& model) : shape_(model.shape) {
    const std::span<const TensorEntry> tensors = model.tensors.entries();
    for (std::uint32_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].bytes == 0) continue;
      if (tensors[i].id.every_layer) {
        add_stacked(i, tensors[i]);
      } else {
        add(i, tensors[i]);
      }
    }
  }

  [[nodiscard]] StreamingLayers take() && { return std::move(out_); }

 private:
  void add_stacked(std::uint32_t tensor, const TensorEntry& entry) {
    const std::uint64_t layers = shape_.layers.size();
    if (layers == 0 || entry.bytes % layers != 0) {
      out_.outer.push_back(tensor);
      return;
    }
    const std::uint64_t share = entry.bytes / layers;
    for (std::size_t i = 0; i < layers; ++i) {
      layer(i).parts.push_back({.tensor = tensor, .from = i * share, .bytes = share});
    }
  }

  void add(std::uint32_t tensor, const TensorEntry& entry) {
    const std::optional<std::uint32_t> number = entry.id.text_layer();
    if (!number) {
      out_.outer.push_back(tensor);
      return;
    }
    StreamedLayer& to = layer(*number);
    const std::uint64_t experts =
        *number < shape_.layers.size() ? shape_.layers[*number].experts : 0;
    if (experts != 0 && is_expert(entry.id.part) && add_experts(to, tensor, entry, experts)) return;
    to.parts.push_back({.tensor = tensor, .bytes = entry.bytes});
  }

  // False where it cannot be told which bytes are which expert's: then every token needs them.
  bool add_experts(StreamedLayer& to, std::uint32_t tensor, const TensorEntry& entry,
                   std::uint64_t experts) {
    if (experts >= StreamedPart::kNoExpert) return false;
    if (const std::optional<std::uint32_t> expert = entry.id.expert) {
      if (*expert >= experts) return false;
      to.parts.push_back({.tensor = tensor, .expert = *expert, .bytes = entry.bytes});
    } else {
      if (entry.rank < 2 || entry.dimensions[0] != experts || entry.bytes % experts != 0) {
        return false;
      }
      add_stacked_experts(to, tensor, entry.bytes / experts, experts);
    }
    to.experts = experts;
    return true;
  }

  void add_stacked_experts(StreamedLayer& to, std::uint32_t tensor, std::uint64_t share,
                           std::uint64_t experts) {
    expert_parts_ += experts;
    if (experts > kMostExpertParts || expert_parts_ > kMostExpertParts) {
      throw InvalidArgument(
          "the model states more experts than any has: " + std::to_string(experts) + " in a layer");
    }
    for (std::uint32_t expert = 0; expert < experts; ++expert) {
      to.parts.push_back(
          {.tensor = tensor, .expert = expert, .from = expert * share, .bytes = share});
    }
  }

  StreamedLayer& layer(std::size_t number) {
    if (number >= out_.layers.size()) out_.layers.resize(number + 1);
    return out_.layers[number];
  }

  const ModelShape& shape_;
  StreamingLayers out_;
  std::uint64_t expert_parts_ = 0;
};

/// Gives the parts of a layer their offsets, run by run.
class Arranger {
 public:
  explicit Arranger(std::span<const TensorEntry> tensors) : tensors_(tensors) {}

  void arrange(StreamedLayer& layer) {
    std::sort(layer.parts.begin(), layer.parts.end(),
              [&](const StreamedPart& a, const StreamedPart& b) {
                return std::tuple(file(a), begin(a)) < std::tuple(file(b), begin(b));
              });
    const StreamedPart* before = nullptr;
    for (StreamedPart& part : layer.parts) {
      if (before == nullptr || !continues(*before, part)) {
        run_begin_ = begin(part);
        run_offset_ = up_to_multiple(layer.bytes, kDeviceAlignment);
      }
      part.offset = fits(CheckedSize(run_offset_) + (begin(part) - run_begin_));
      layer.bytes = fits(CheckedSize(part.offset) + part.bytes);
      before = &part;
    }
    layer.bytes = up_to_multiple(layer.bytes, kDeviceAlignment);
  }

 private:
  [[nodiscard]] std::uint32_t file(const StreamedPart& part) const {
    return tensors_[part.tensor].file;
  }
  // In its file; so for the end.
  [[nodiscard]] std::uint64_t begin(const StreamedPart& part) const {
    return tensors_[part.tensor].offset + part.from;
  }
  [[nodiscard]] std::uint64_t end(const StreamedPart& part) const {
    return begin(part) + part.bytes;
  }

  [[nodiscard]] bool continues(const StreamedPart& before, const StreamedPart& part) const {
    // Wraps round, and is too much, where one lies over the other.
    const std::uint64_t gap = begin(part) - end(before);
    return file(before) == file(part) && gap <= kMostGap &&
           (begin(part) - run_begin_) % kPartAlignment == 0;
  }

  std::span<const TensorEntry> tensors_;
  std::uint64_t run_begin_ = 0;   // in its file
  std::uint64_t run_offset_ = 0;  // on the device
};

}  // namespace

StreamingLayers lay_out_layers(const Model& model) {
  StreamingLayers out = Cutter(model).take();
  Arranger arranger(model.tensors.entries());
  for (StreamedLayer& layer : out.layers) arranger.arrange(layer);
  return out;
}

}  // namespace tapedeck::internal
