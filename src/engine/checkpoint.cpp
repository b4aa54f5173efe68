#include "engine/checkpoint.hpp"

#include <bit>
#include <cstdint>
#include <string>
#include <utility>

#include "engine/takes.hpp"
#include "model/llama2c.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::inline TAPEDECK_ABI::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are read as they are");

Shape shape_of(const Model& model) {
  const LayerShape& layer = model.shape.layers.front();
  const Shape shape{.dim = model.shape.hidden,
                    .ffn = layer.ffn,
                    .layers = model.shape.layers.size(),
                    .heads = layer.heads,
                    .kv_heads = layer.kv_heads,
                    .vocab = model.shape.vocabulary,
                    .seq_len = model.shape.context,
                    .own_classifier = !model.shape.tied};
  if (const auto fault = find_fault(shape)) {
    throw FormatError(model.path.string(), fault->field * sizeof(std::int32_t), fault->text,
                      "is it a llama2.c version 0 checkpoint?");
  }
  return shape;
}

// A header alone is enough to plan with, but not to decode.
void check_whole(const Model& model) {
  const TensorFile& file = model.tensors.files().front();
  if (!file.truncated()) return;
  for (const TensorEntry& tensor : model.tensors.entries()) {
    if (file.size >= tensor.offset + tensor.bytes) continue;
    throw FormatError(file.path.string(), file.size,
                      "the file ends inside " + std::string(tensor.name) +
                          ", and a model of this header has " + std::to_string(file.data_end) +
                          " bytes",
                      "it is cut off, or no llama2.c version 0 checkpoint");
  }
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& path)
    : file_(path), model_(model::read_llama2c(path)), shape_(shape_of(model_)) {
  check_whole(model_);
}

Plan Checkpoint::plan(std::size_t positions, std::size_t talks) const {
  const std::size_t tokens = positions == 0 ? shape_.seq_len : positions;
  const auto context = checked_mul(tokens, talks);
  if (!context) throw InvalidArgument("more tokens than can be counted");
  Plan plan = make_plan(model_, {.context = *context,
                                 .sequences = talks,
                                 .key_type = DType::f32,
                                 .value_type = DType::f32,
                                 .cell_rounding = 1,
                                 .activation_type = DType::f32});
  TapePlan used;
  for (const Tensor& tensor : tensors(shape_)) {
    const Region* region = tensor.place == nullptr ? nullptr : plan.weights.find(tensor.name);
    if (region != nullptr) used.append(*region);
  }
  plan.weights = std::move(used);
  plan.scratch = {};
  return plan;
}

LayoutOptions Checkpoint::options(std::size_t positions) const {
  LayoutOptions options;
  options.extra.scratch = scratch_bytes(positions);
  return options;
}

std::size_t Checkpoint::scratch_bytes(std::size_t positions) const {
  TapeMeasure scratch;
  static_cast<void>(take_token(scratch, shape_));
  // Each layer in the same lines.
  static_cast<void>(take_layer(scratch, shape_, positions == 0 ? shape_.seq_len : positions));
  if (scratch.bytes()) return *scratch.bytes();
  throw InvalidArgument("a pass of this model needs more than can be addressed",
                        "ask for fewer positions");
}

Weights Checkpoint::load(Layout& layout) const {
  Weights weights;
  for (const Tensor& tensor : tensors(shape_)) {
    const Region* region =
        tensor.place == nullptr ? nullptr : layout.plan().weights.find(tensor.name);
    if (region == nullptr) continue;
    const std::span<float> array = layout.weights_at<float>(*region);
    file_.read(model_.tensors.find(tensor.name)->offset, std::as_writable_bytes(array),
               tensor.name);
    weights.*tensor.place = array;
  }
  if (!shape_.own_classifier) weights.classifier = weights.token_embedding;
  return weights;
}

}  // namespace tapedeck::inline TAPEDECK_ABI::engine
