#include "llama/gguf_llama.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>

#include "base/printable.hpp"
#include "llama/gguf_error.hpp"
#include "llama/llama_weights.hpp"
#include "llama/rotation.hpp"
#include "os/file_reader.hpp"

namespace tapedeck::llama {
namespace {

constexpr const char* kEpsilon = "llama.attention.layer_norm_rms_epsilon";

[[noreturn]] void not_decoded(const Model& gguf, const std::string& what) {
  throw InvalidArgument(gguf.path.string() + ": " + what, "this decoder is for dense Llama models");
}

void check_architecture(const Model& gguf) {
  const std::string_view name = gguf.metadata.string("general.architecture").value_or("");
  if (name == "llama") return;
  not_decoded(gguf, name.empty() ? "it does not say which architecture it has"
                                 : "the architecture " + internal::printable(name) +
                                       " is not decoded, only llama");
}

// What other models of this architecture compute besides, and what says that this one does not.
struct Feature {
  const char* key;
  double absent;
  const char* what;
};
constexpr std::array<Feature, 7> kNotDecoded = {{
    {"llama.expert_count", 0, "experts (MoE)"},
    {"llama.rope.scaling.attn_factor", 1, "scaled attention"},
    {"llama.attention.clamp_kqv", 0, "clamped Q, K and V"},
    {"llama.attention.scale", 0, "scaled attention"},
    {"llama.logit_scale", 0, "scaled logits"},
    {"llama.residual_scale", 0, "scaled residuals"},
    {"llama.embedding_scale", 0, "scaled embeddings"},
}};

void check_features(const Model& gguf) {
  for (const Feature& feature : kNotDecoded) {
    const std::optional<double> value = gguf.metadata.real(feature.key);
    if (!value || *value == feature.absent) continue;
    not_decoded(gguf,
                std::string(feature.key) + " asks for " + feature.what + ", which is not decoded");
  }
  if (!gguf.metadata.boolean("llama.attention.causal").value_or(true)) {
    not_decoded(gguf, "llama.attention.causal is false: it is no decoder");
  }
  const std::string_view scaling =
      gguf.metadata.string("llama.rope.scaling.type").value_or("linear");
  if (scaling != "linear" && scaling != "none") {
    not_decoded(gguf, "llama.rope.scaling.type " + internal::printable(scaling) +
                          " is not decoded, only linear");
  }
}

// One layer stands for all.
const LayerShape& layer_of(const Model& gguf) {
  const std::vector<LayerShape>& layers = gguf.shape.layers;
  if (layers.empty()) {
    const auto& warnings = gguf.shape.warnings;
    throw FormatError(first_file(gguf), 0,
                      warnings.empty() ? "llama.block_count is missing or 0" : warnings.front(),
                      "convert the model again");
  }
  const auto differs = [&](const LayerShape& layer) { return layer != layers.front(); };
  if (std::any_of(layers.begin(), layers.end(), differs)) {
    not_decoded(gguf, "layers of different shapes are not decoded");
  }
  return layers.front();
}

void require(const Model& gguf, std::size_t value, const char* key) {
  if (value == 0) refuse_key(gguf, key, " is missing or 0");
}

void check_figures(const Model& gguf, const Shape& s) {
  require(gguf, s.dim, "llama.embedding_length");
  require(gguf, s.ffn, "llama.feed_forward_length");
  require(gguf, s.vocab, "tokenizer.ggml.tokens");
  require(gguf, s.seq_len, "llama.context_length");
  require(gguf, s.key_size, "llama.attention.key_length");
  require(gguf, s.value_size, "llama.attention.value_length");
  if (s.heads % s.kv_heads != 0) {
    refuse_key(gguf, "llama.attention.head_count_kv",
               " " + std::to_string(s.kv_heads) + " does not divide head_count " +
                   std::to_string(s.heads));
  }
  if (s.key_size % 2 != 0) {
    refuse_key(gguf, "llama.attention.key_length",
               " " + std::to_string(s.key_size) + " is odd, and rotary embedding turns pairs");
  }
  const auto rotated = gguf.metadata.integer("llama.rope.dimension_count").value_or(s.key_size);
  if (rotated != s.key_size) {
    refuse_key(gguf, "llama.rope.dimension_count",
               " is " + std::to_string(rotated) + ", and a head has " + std::to_string(s.key_size));
  }
}

float positive(const Model& gguf, const char* key, std::optional<double> value, float usual) {
  if (!value) return usual;
  const auto narrow = static_cast<float>(std::min(*value, 1e30));
  if (narrow > 0) return narrow;  // and no NaN
  refuse_key(gguf, key, " is no positive number");
}

/// Looks each tensor up, and notices what is left over and what has no kernels.
class TensorCheck {
 public:
  explicit TensorCheck(const Model& gguf)
      : gguf_(gguf), known_(gguf.tensors.entries().size(), false) {}

  void matrix(const std::string& name, std::size_t rows, std::size_t columns) {
    const TensorEntry& entry = find(name, {rows, columns});
    const bool has_kernel =
        std::find(kMatrixTypes.begin(), kMatrixTypes.end(), entry.dtype) != kMatrixTypes.end();
    if (!has_kernel) ++without_kernel_[static_cast<std::size_t>(entry.dtype)];
  }

  void floats(const std::string& name, std::size_t size) {
    const TensorEntry& entry = find(name, {size});
    if (entry.dtype == DType::f32) return;
    not_decoded(gguf_,
                name + " is " + std::string(to_string(entry.dtype)) + "; only f32 is decoded");
  }

  void finish() const {
    const std::span<const TensorEntry> entries = gguf_.tensors.entries();
    const auto other = std::find(known_.begin(), known_.end(), false);
    if (other != known_.end()) {
      const TensorEntry& entry = entries[static_cast<std::size_t>(other - known_.begin())];
      not_decoded(gguf_, "the tensor " + internal::printable(entry.name) + " is not decoded");
    }
    std::string found;
    for (std::size_t type = 0; type < kDTypes; ++type) {
      const std::size_t count = without_kernel_[type];
      if (count == 0) continue;
      if (!found.empty()) found += ", ";
      found += std::string(to_string(static_cast<DType>(type))) + " (" + std::to_string(count) +
               (count == 1 ? " tensor)" : " tensors)");
    }
    if (found.empty()) return;
    throw InvalidArgument(gguf_.path.string() + " has types that are not decoded: " + found,
                          "quantise the model as " + supported());
  }

 private:
  static std::string supported() {
    std::string all;
    for (const DType type : kMatrixTypes) {
      if (!all.empty()) all += type == kMatrixTypes.back() ? " or " : ", ";
      all += to_string(type);
    }
    return all;
  }

  const TensorEntry& find(const std::string& name, std::initializer_list<std::uint64_t> shape) {
    const TensorEntry* entry = gguf_.tensors.find(name);
    if (entry == nullptr) {
      throw FormatError(first_file(gguf_), 0, "there is no tensor " + name,
                        "it is no whole Llama model: convert it again");
    }
    const std::span<const std::uint64_t> found = entry->shape();
    if (!std::equal(found.begin(), found.end(), shape.begin(), shape.end())) {
      const TensorFile& file = gguf_.tensors.files()[entry->file];
      throw FormatError(file.path.string(), std::min(entry->offset, file.size),
                        name + " is " + text_of(found) + ", and by the model's figures " +
                            text_of({shape.begin(), shape.size()}),
                        "convert the model again");
    }
    known_[static_cast<std::size_t>(entry - gguf_.tensors.entries().data())] = true;
    return *entry;
  }

  static std::string text_of(std::span<const std::uint64_t> shape) {
    std::string text = "[";
    for (const std::uint64_t dimension : shape) {
      if (text.size() > 1) text += " x ";
      text += std::to_string(dimension);
    }
    return text + "]";
  }

  const Model& gguf_;
  std::vector<bool> known_;  // by index
  std::array<std::size_t, kDTypes> without_kernel_{};
};

}  // namespace

Shape gguf_llama_shape(const Model& gguf) {
  check_architecture(gguf);
  check_features(gguf);
  const LayerShape& layer = layer_of(gguf);
  Shape shape{.dim = gguf.shape.hidden,
              .ffn = layer.ffn,
              .layers = gguf.shape.layers.size(),
              .heads = layer.heads,
              .kv_heads = layer.kv_heads,
              .vocab = gguf.shape.vocabulary,
              .seq_len = gguf.shape.context,
              .own_classifier = !gguf.shape.tied,
              .key_size = layer.key_dim,
              .value_size = layer.value_dim,
              .longer_talks = true};
  check_figures(gguf, shape);
  shape.norm_epsilon = positive(gguf, kEpsilon, gguf.metadata.real(kEpsilon), 0);
  if (shape.norm_epsilon == 0) refuse_key(gguf, kEpsilon, " is missing");
  return shape;
}

void check_gguf_llama_tensors(const Model& gguf, const Shape& shape) {
  TensorCheck check(gguf);
  check.matrix(kTokenEmbedding.gguf, shape.vocab, shape.dim);
  for (std::size_t layer = 0; layer < shape.layers; ++layer) {
    for (const LayerNorm& norm : kLayerNorms) check.floats(gguf_name(norm.name, layer), shape.dim);
    for (const LayerMatrix& matrix : layer_matrices(shape)) {
      check.matrix(gguf_name(matrix.name, layer), matrix.rows, matrix.columns);
    }
  }
  check.floats(kFinalNorm.gguf, shape.dim);
  if (shape.own_classifier) check.matrix(kClassifier.gguf, shape.vocab, shape.dim);
  if (gguf.tensors.find(kRotationFactors) != nullptr) {
    check.floats(kRotationFactors, shape.key_head() / 2);
  }
  check.finish();
}

std::vector<float> gguf_llama_frequencies(const Model& gguf, const Shape& shape) {
  constexpr const char* kBase = "llama.rope.freq_base";
  constexpr const char* kFactor = "llama.rope.scaling.factor";
  constexpr const char* kOldFactor = "llama.rope.scale_linear";
  const float base = positive(gguf, kBase, gguf.metadata.real(kBase), kUsualRotationBase);
  std::vector<float> frequencies = rotary_frequencies(shape.key_head(), base);

  const bool scaled = gguf.metadata.string("llama.rope.scaling.type").value_or("") != "none";
  const char* const key = gguf.metadata.has(kFactor) ? kFactor : kOldFactor;
  const float factor = scaled ? positive(gguf, key, gguf.metadata.real(key), 1) : 1;
  for (float& frequency : frequencies) frequency /= factor;

  const TensorEntry* entry = gguf.tensors.find(kRotationFactors);
  if (entry == nullptr) return frequencies;
  // From the file: these few bytes are needed before the weights are brought in.
  internal::FileReader file(gguf.tensors.files()[entry->file].path);
  file.skip(entry->offset, kRotationFactors);
  for (float& frequency : frequencies) frequency /= file.number<float>(kRotationFactors);
  return frequencies;
}

}  // namespace tapedeck::llama
