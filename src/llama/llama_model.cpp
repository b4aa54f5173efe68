#include "llama/llama_model.hpp"

#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "llama/gguf_llama.hpp"
#include "llama/rotation.hpp"
#include "model/gguf/gguf.hpp"
#include "model/llama2c/llama2c.hpp"
#include "os/file_reader.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::llama {
namespace {

static_assert(std::endian::native == std::endian::little, "weights are used as they lie in files");

bool is_gguf(const std::filesystem::path& path) {
  internal::FileReader file(path);
  const std::span<const std::byte> head = file.peek();
  constexpr std::string_view magic = "GGUF";
  return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

// llama2.c's files have no magic, so whatever is no GGUF file must be one, or is refused as one.
Model read(const std::filesystem::path& path) {
  return is_gguf(path) ? internal::read_gguf(path) : internal::read_llama2c(path);
}

Shape llama2c_shape(const Model& model) {
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

Shape shape_of(const Model& model) {
  return model.format == ModelFormat::llama2c ? llama2c_shape(model) : gguf_llama_shape(model);
}

const Model& checked(const Model& model, const Shape& shape) {
  if (model.format == ModelFormat::gguf) check_gguf_llama_tensors(model, shape);
  return model;
}

std::vector<float> frequencies_of(const Model& model, const Shape& shape) {
  if (model.format == ModelFormat::gguf) return gguf_llama_frequencies(model, shape);
  return rotary_frequencies(shape.key_head(), kUsualRotationBase);
}

}  // namespace

/// A tensor, or one layer's part of it.
struct LlamaModel::Stored {
  TensorView view;

  [[nodiscard]] Matrix matrix(std::size_t rows, std::size_t columns) const {
    if (!view.aligned) {
      throw InvalidArgument(
          std::string(view.name) + " does not lie where its numbers could be used",
          "read the file instead of mapping it: --way read");
    }
    return {.dtype = view.dtype, .rows = rows, .columns = columns, .bytes = view.bytes};
  }
  [[nodiscard]] std::span<const float> floats() const { return view.as<float>(); }
};

LlamaModel::LlamaModel(const std::filesystem::path& path, const WeightsOptions& options)
    : model_(read(path)),
      shape_(shape_of(model_)),
      frequencies_(frequencies_of(model_, shape_)),
      weights_(Weights::open(checked(model_, shape_), options)),
      parts_(shape_.layers + 2) {
  find_arrays();
}

LlamaModel::LlamaModel(Model model, Weights weights)
    : model_(std::move(model)),
      shape_(shape_of(model_)),
      frequencies_(frequencies_of(model_, shape_)),
      weights_(std::move(weights)),
      parts_(shape_.layers + 2) {
  if (model_.format != ModelFormat::gguf) {
    throw InvalidArgument("shared weights of a model that is no GGUF file", "convert the model");
  }
  // The model keeps its own file, where its tokenizer is.
  Model with_weights = model_;
  with_weights.tensors = weights_.tensors();
  check_gguf_llama_tensors(with_weights, shape_);
  find_arrays();
}

LlamaModel::Stored LlamaModel::find(const char* name, std::size_t part) {
  const TensorDirectory& tensors = weights_.tensors();
  const TensorEntry* const entry = tensors.find(name);
  if (entry == nullptr) throw InvalidArgument("the model has no tensor " + std::string(name));
  const auto index = static_cast<std::uint32_t>(entry - tensors.entries().data());
  parts_[part].push_back(index);
  return {weights_[index]};
}

LlamaModel::Stored LlamaModel::find_in_layer(const TensorName& name, std::size_t layer) {
  if (model_.format == ModelFormat::gguf) return find(gguf_name(name, layer).c_str(), 1 + layer);
  Stored stored = find(name.llama2c, 1 + layer);
  std::span<const std::byte>& bytes = stored.view.bytes;
  const std::size_t part = bytes.size() / shape_.layers;
  bytes = bytes.subspan(layer * part, part);
  return stored;
}

void LlamaModel::find_arrays() {
  const bool gguf = model_.format == ModelFormat::gguf;
  const auto whole = [&](const TensorName& name, std::size_t part) {
    return find(gguf ? name.gguf : name.llama2c, part);
  };
  arrays_.token_embedding = whole(kTokenEmbedding, 0).matrix(shape_.vocab, shape_.dim);
  arrays_.layers.resize(shape_.layers);
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    LayerWeights& of = arrays_.layers[layer];
    for (const LayerNorm& norm : kLayerNorms) {
      of.*norm.place = find_in_layer(norm.name, layer).floats();
    }
    for (const LayerMatrix& matrix : layer_matrices(shape_)) {
      of.*matrix.place = find_in_layer(matrix.name, layer).matrix(matrix.rows, matrix.columns);
    }
  }
  const std::size_t last = parts() - 1;
  arrays_.final_norm = whole(kFinalNorm, last).floats();
  arrays_.classifier = shape_.own_classifier
                           ? whole(kClassifier, last).matrix(shape_.vocab, shape_.dim)
                           : arrays_.token_embedding;
}

Plan LlamaModel::plan(std::size_t positions, std::size_t talks, DType element) const {
  const std::size_t tokens = positions == 0 ? shape_.seq_len : positions;
  const auto context = checked_mul(tokens, talks);
  if (!context) throw InvalidArgument("more tokens than can be counted");
  Model loaded = model_;  // weights may be shared, and of other types than the file's
  loaded.tensors = weights_.tensors();
  return make_plan(loaded, {.total_context = *context,
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
