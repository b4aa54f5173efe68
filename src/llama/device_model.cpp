// SPDX-License-Identifier: Apache-2.0
#include "llama/device_model.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

[[noreturn]] void throw_not_planned(const std::string& what) {
  throw InvalidArgument({.argument = what}, "the streaming plan has no place for " + what,
                        "make the plan from model_to_plan(model)");
}

}  // namespace

DeviceModel::DeviceModel(const LlamaModel& model, Device& device, StreamingPlan plan,
                         DeviceSpan<std::byte> place, const LayerStreamerOptions& options)
    : model_(model),
      streamer_(device, std::move(plan), place, model.weights().tensors(),
                model.weights().all_bytes(), options) {
  const auto on_device = [&](Matrix matrix, std::uint32_t tensor) {
    matrix.bytes = {streamer_.outer(tensor), matrix.bytes.size()};
    return matrix;
  };
  const LlamaWeights& host = model_.arrays();
  const std::span<const std::uint32_t> last = model_.tensors_of(model_.parts() - 1);
  outer_ = {.token_embedding = on_device(host.token_embedding, model_.tensors_of(0)[0]),
            .final_norm = on_device(host.final_norm, last[0]),
            .classifier = on_device(host.classifier, last[1])};
  find_layers();
}

void DeviceModel::find_layers() {
  const auto arrays = layer_arrays(model_.shape());
  const std::vector<LayerWeights>& host = model_.arrays().layers;
  const std::vector<StreamedLayer>& planned = streamer_.plan().layers;
  if (planned.size() < host.size()) throw_not_planned("the last layer");
  for (std::size_t layer = 0; layer < host.size(); ++layer) {
    Offsets& offsets = layers_.emplace_back();
    const auto& parts = planned[layer].parts;
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      const std::uint32_t tensor = model_.tensors_of(1 + layer)[i];
      const std::span<const std::byte> bytes = (host[layer].*arrays[i].place).bytes;
      // A llama2.c tensor holds the arrays of all layers.
      const auto from =
          static_cast<std::uint64_t>(bytes.data() - model_.weights()[tensor].bytes.data());
      const auto found = std::ranges::find_if(parts, [&](const StreamedPart& part) {
        return part.tensor == tensor && part.from == from;
      });
      if (found == parts.end() || found->bytes < bytes.size()) {
        throw_not_planned("an array of layer " + std::to_string(layer));
      }
      offsets.push_back(found->offset);
    }
  }
}

void DeviceModel::begin_next(std::size_t layer) {
  const std::size_t next = streamer_.next_streamed(layer);
  if (next >= layers_.size()) return;
  try {
    static_cast<void>(streamer_.prefetch(next));
  } catch (const Error&) {
    // The next acquire() throws the error.
  }
}

LayerWeights DeviceModel::acquire(std::size_t layer, StreamHandle stream) {
  const std::byte* const at = streamer_.acquire(layer, stream);
  begin_next(layer);

  LayerWeights weights = model_.arrays().layers[layer];
  const auto arrays = layer_arrays(model_.shape());
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    std::span<const std::byte>& bytes = (weights.*arrays[i].place).bytes;
    bytes = {at + layers_[layer][i], bytes.size()};
  }
  return weights;
}

}  // namespace tapedeck::llama
