#include "llama/device_model.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "tapedeck/base/error.hpp"
#include "tapedeck/device/device_error.hpp"

namespace tapedeck::llama {
namespace {

using Bytes = std::span<const std::byte>;

[[noreturn]] void throw_not_planned(const std::string& what) {
  throw InvalidArgument({.argument = what}, "the streaming plan has no place for " + what,
                        "plan this model's own tensors: model_to_plan");
}

// The arrays of a layer, in the order of their offsets here.
std::vector<Bytes> arrays_of(const LayerWeights& layer, const Shape& shape) {
  const auto matrices = layer_matrices(shape);
  std::vector<Bytes> all;
  all.reserve(kLayerNorms.size() + matrices.size());
  for (const LayerNorm& norm : kLayerNorms) all.push_back(std::as_bytes(layer.*norm.place));
  for (const LayerMatrix& matrix : matrices) {
    all.push_back((layer.*matrix.place).bytes);
  }
  return all;
}

}  // namespace

Model model_to_plan(const LlamaModel& model) {
  Model planned = model.model();
  planned.tensors = model.weights().tensors();
  return planned;
}

DeviceModel::DeviceModel(const LlamaModel& model, Device& device, StreamingPlan plan,
                         DeviceSpan<std::byte> place, const LayerStreamerOptions& options)
    : model_(model),
      streamer_(device, std::move(plan), place, model.weights().tensors(),
                model.weights().all_bytes(), options) {
  find_outer();
  find_layers();
}

void DeviceModel::find_outer() {
  const auto on_device = [&](Bytes array, const char* name) -> Bytes {
    for (const StreamingPlan::Outer& outer : streamer_.plan().outer) {
      if (model_.weights()[outer.tensor].bytes.data() != array.data()) continue;
      return {streamer_.outer(outer.tensor), array.size()};
    }
    throw_not_planned(name);
  };
  const LlamaWeights& host = model_.arrays();
  const Bytes norm = on_device(std::as_bytes(host.final_norm), "the last norm");
  outer_ = {.token_embedding = host.token_embedding,
            .final_norm = {reinterpret_cast<const float*>(norm.data()), host.final_norm.size()},
            .classifier = host.classifier};
  outer_.token_embedding.bytes = on_device(host.token_embedding.bytes, "the embedding");
  outer_.classifier.bytes = on_device(host.classifier.bytes, "the classifier");
}

void DeviceModel::find_layers() {
  const LlamaWeights& host = model_.arrays();
  const std::vector<StreamedLayer>& planned = streamer_.plan().layers;
  if (planned.size() < host.layers.size()) throw_not_planned("the last layer");
  for (std::size_t i = 0; i < host.layers.size(); ++i) {
    Offsets& offsets = layers_.emplace_back();
    for (const Bytes array : arrays_of(host.layers[i], model_.shape())) {
      const auto& parts = planned[i].parts;
      const auto found = std::find_if(parts.begin(), parts.end(), [&](const StreamedPart& part) {
        return model_.weights()[part.tensor].bytes.data() + part.from == array.data();
      });
      if (found == parts.end() || found->bytes < array.size()) {
        throw_not_planned("an array of layer " + std::to_string(i));
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
    // What is wrong, acquire() throws.
  }
}

LayerWeights DeviceModel::acquire(std::size_t layer, StreamHandle stream) {
  const std::byte* const at = streamer_.acquire(layer, stream);
  begin_next(layer);

  LayerWeights weights = model_.arrays().layers[layer];
  std::size_t array = 0;
  for (const LayerNorm& norm : kLayerNorms) {
    std::span<const float>& values = weights.*norm.place;
    values = {reinterpret_cast<const float*>(at + layers_[layer][array++]), values.size()};
  }
  for (const LayerMatrix& matrix : layer_matrices(model_.shape())) {
    Bytes& bytes = (weights.*matrix.place).bytes;
    bytes = {at + layers_[layer][array++], bytes.size()};
  }
  return weights;
}

}  // namespace tapedeck::llama
