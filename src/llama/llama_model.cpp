// SPDX-License-Identifier: Apache-2.0
#include "llama/llama_model.hpp"

#include <bit>
#include <string>
#include <utility>

#include "tapedeck/base/checked.hpp"
#include "tapedeck/base/error.hpp"
#include "tapedeck/model/read_model.hpp"

namespace tapedeck::llama {
namespace {

static_assert(std::endian::native == std::endian::little,
              "weights are used in the byte order of their files");

Model with_tensors(Model model, const TensorDirectory& tensors) {
  model.tensors = tensors;
  return model;
}

}  // namespace

LlamaModel::LlamaModel(const std::filesystem::path& path, const WeightsOptions& options)
    : LlamaModel(read_model(path), options) {}

LlamaModel::LlamaModel(Model model, const WeightsOptions& options)
    : model_(std::move(model)),
      shape_(llama_shape(model_)),
      parts_(find_llama_tensors(model_, shape_)),
      weights_(Weights::open(model_, options)) {
  find_arrays();
}

// `model_` still refers to its own file, because the tokenizer is in it.
LlamaModel::LlamaModel(Model model, Weights weights)
    : model_(std::move(model)),
      shape_(llama_shape(model_)),
      parts_(find_llama_tensors(with_tensors(model_, weights.tensors()), shape_)),
      weights_(std::move(weights)) {
  find_arrays();
}

// Returns a tensor or, if the tensor holds every layer, one layer's part of it.
Matrix LlamaModel::matrix_of(std::uint32_t tensor, std::size_t rows, std::size_t columns,
                             std::size_t layer) const {
  const TensorView view = weights_[tensor];
  if (!view.aligned) {
    throw InvalidArgument(
        {.argument = "WeightsOptions::way"},
        "tensor " + std::string(view.name) + " is not aligned for its type in the mapped file",
        "read the file instead of mapping it: --way read");
  }
  std::span<const std::byte> bytes = view.bytes;
  if (weights_.tensors().entries()[tensor].id.every_layer) {
    const std::size_t share = bytes.size() / shape_.layers;
    bytes = bytes.subspan(layer * share, share);
  }
  return {.dtype = view.dtype, .rows = rows, .columns = columns, .bytes = bytes};
}

void LlamaModel::find_arrays() {
  frequencies_ = rotation_frequencies(model_, shape_);
  arrays_.token_embedding = matrix_of(parts_.front()[0], shape_.vocab, shape_.dim);
  arrays_.layers.resize(shape_.layers);
  const auto arrays = layer_arrays(shape_);
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      const LayerArray& array = arrays[i];
      arrays_.layers[layer].*array.place =
          matrix_of(parts_[1 + layer][i], array.rows, array.columns, layer);
    }
  }
  arrays_.final_norm = matrix_of(parts_.back()[0], 1, shape_.dim);
  arrays_.classifier = matrix_of(parts_.back()[1], shape_.vocab, shape_.dim);
}

Model model_to_plan(const LlamaModel& model) {
  return with_tensors(model.model(), model.weights().tensors());
}

Plan LlamaModel::plan(std::size_t positions, std::size_t talks, DType element) const {
  const std::size_t tokens = positions == 0 ? shape_.seq_len : positions;
  const auto context = checked_mul(tokens, talks);
  if (!context) {
    throw InvalidArgument({.argument = "positions", .value = tokens},
                          std::to_string(talks) + " talks of " + std::to_string(tokens) +
                              " positions do not fit in 64 bits",
                          "plan fewer positions");
  }
  return make_plan(model_to_plan(*this), {.total_context = *context,
                                          .sequences = talks,
                                          .batch = 1,
                                          .micro_batch = 1,
                                          .key_type = element,
                                          .value_type = element,
                                          .flash_attention = false,
                                          .cell_rounding = 1,
                                          .activation_type = element});
}

LayoutOptions LlamaModel::options() const {
  LayoutOptions options;
  options.loaded_weights = &weights_;
  return options;
}

}  // namespace tapedeck::llama
