// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <functional>
#include <ios>
#include <optional>
#include <string>
#include <string_view>

#include "llama/llama_files.hpp"
#include "llama/model_error.hpp"

namespace tapedeck::llama {
namespace {

constexpr const char* kArchitecture = "general.architecture";
constexpr const char* kEpsilon = "llama.attention.layer_norm_rms_epsilon";
constexpr const char* kScaling = "llama.rope.scaling.type";
constexpr float kUsualRotationBase = 10'000;

[[noreturn]] void throw_not_decoded(const Model& model, const char* key,
                                    const std::string& message) {
  throw_key_error(model, key, FormatFault::unsupported, message, kOnlyDenseLlama);
}

[[noreturn]] void throw_format_not_decoded(const Model& model) {
  const bool config = model.format == ModelFormat::config;
  throw FormatError(
      {.path = model.path.string(), .fault = FormatFault::unsupported},
      config ? "a config.json has no weights and no tokenizer to decode with"
             : "safetensors files hold no tokenizer, and their Q and K rows are not in the order"
               " that this decoder computes with",
      "convert the model to GGUF (llama.cpp: convert_hf_to_gguf.py) or to a llama2.c checkpoint"
      " (llama2.c: export.py)");
}

void check_architecture(const Model& gguf) {
  const std::string_view name = gguf.metadata.string(kArchitecture).value_or("");
  if (name == "llama") return;
  if (name.empty()) throw_key_error(gguf, kArchitecture, FormatFault::missing, " is missing");
  throw_not_decoded(gguf, kArchitecture, " is " + quoted(name) + ", but only llama is supported");
}

// A feature that some models of this architecture have, and the value of its key in models without
// it.
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
    throw_not_decoded(gguf, feature.key,
                      std::string(" requires ") + feature.what + ", which is not supported");
  }
  constexpr const char* kCausal = "llama.attention.causal";
  if (!gguf.metadata.boolean(kCausal).value_or(true)) {
    throw_not_decoded(gguf, kCausal, " is false: the model is not a decoder");
  }
  const std::string_view scaling = gguf.metadata.string(kScaling).value_or("linear");
  if (scaling != "linear" && scaling != "none") {
    throw_not_decoded(gguf, kScaling, " is " + quoted(scaling) + ", but only linear is supported");
  }
}

// Returns the first layer, after checking that all others are equal to it.
const LayerShape& layer_of(const Model& model) {
  constexpr const char* kLayers = "llama.block_count";
  const std::vector<LayerShape>& layers = model.shape.layers;
  if (layers.empty()) {
    const auto& warnings = model.shape.warnings;
    throw_key_error(model, kLayers, FormatFault::missing,
                    warnings.empty() ? " is missing or 0"
                                     : " does not describe the layers: " + warnings.front());
  }
  const auto differs = [&](const LayerShape& layer) { return layer != layers.front(); };
  if (std::any_of(layers.begin(), layers.end(), differs)) {
    throw_not_decoded(model, kLayers,
                      " counts layers that differ from each other, which is not supported");
  }
  return layers.front();
}

void check_figures(const Model& gguf, const Shape& s) {
  struct Figure {
    const char* key;
    std::size_t value;
  };
  for (const auto& [key, value] : {Figure{"llama.embedding_length", s.dim},
                                   {"llama.feed_forward_length", s.ffn},
                                   {"tokenizer.ggml.tokens", s.vocab},
                                   {"llama.context_length", s.seq_len},
                                   {"llama.attention.key_length", s.key_size},
                                   {"llama.attention.value_length", s.value_size}}) {
    if (value == 0) throw_key_error(gguf, key, FormatFault::missing, " is missing or 0");
  }
  const auto throw_contradiction = [&](const char* key, const std::string& message) {
    throw_key_error(gguf, key, FormatFault::contradictory, message);
  };
  if (s.heads % s.kv_heads != 0) {
    throw_contradiction("llama.attention.head_count_kv", " " + std::to_string(s.kv_heads) +
                                                             " does not divide head_count " +
                                                             std::to_string(s.heads));
  }
  if (s.key_size % 2 != 0) {
    throw_contradiction("llama.attention.key_length", " " + std::to_string(s.key_size) +
                                                          " is odd, but rotary embedding rotates "
                                                          "pairs");
  }
  constexpr const char* kRotated = "llama.rope.dimension_count";
  const auto rotated = gguf.metadata.integer(kRotated).value_or(s.key_size);
  if (rotated != s.key_size) {
    throw_contradiction(kRotated, " is " + std::to_string(rotated) + ", but a head has " +
                                      std::to_string(s.key_size) + " dimensions");
  }
}

float positive_number(const Model& model, const char* key, float usual) {
  const std::optional<double> value = model.metadata.real(key);
  if (!value) return usual;
  const auto narrow = static_cast<float>(std::min(*value, 1e30));
  if (narrow > 0) return narrow;  // false for NaN
  throw_key_error(model, key, FormatFault::out_of_range, " is not a positive number");
}

}  // namespace

Shape llama_shape(const Model& model) {
  const bool gguf = model.format == ModelFormat::gguf;
  if (!gguf && model.format != ModelFormat::llama2c) throw_format_not_decoded(model);
  if (gguf) {
    check_architecture(model);
    check_features(model);
  }
  const LayerShape& layer = layer_of(model);
  Shape shape{.dim = model.shape.hidden,
              .ffn = layer.ffn,
              .layers = model.shape.layers.size(),
              .heads = layer.heads,
              .kv_heads = layer.kv_heads,
              .vocab = model.shape.vocabulary,
              .seq_len = model.shape.context,
              .own_classifier = !model.shape.tied,
              .key_size = layer.key_dim,
              .value_size = layer.value_dim,
              .longer_talks = gguf};
  if (!gguf) return shape;  // the header was checked when it was read
  check_figures(model, shape);
  if (!model.metadata.real(kEpsilon)) {
    throw_key_error(model, kEpsilon, FormatFault::missing, " is missing");
  }
  shape.norm_epsilon = positive_number(model, kEpsilon, 0);
  return shape;
}

std::vector<float> rotation_frequencies(const Model& model, const Shape& shape) {
  constexpr const char* kFactor = "llama.rope.scaling.factor";
  constexpr const char* kOldFactor = "llama.rope.scale_linear";
  const float base = positive_number(model, "llama.rope.freq_base", kUsualRotationBase);
  const bool scaled = model.metadata.string(kScaling).value_or("") != "none";
  const char* const key = model.metadata.has(kFactor) ? kFactor : kOldFactor;
  const float factor = scaled ? positive_number(model, key, 1) : 1;
  std::vector<float> frequencies(shape.key_head() / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float turn = static_cast<float>(2 * i) / static_cast<float>(shape.key_head());
    frequencies[i] = 1.0F / std::pow(base, turn) / factor;
  }

  const TensorEntry* const entry = model.tensors.find(kRotationFactors);
  if (entry == nullptr) return frequencies;
  const std::string path = model.tensors.files()[entry->file].path.string();
  const auto throw_factors_error = [&](FormatFault fault, const std::string& message) {
    throw FormatError(
        {.path = path, .offset = entry->offset, .field = kRotationFactors, .fault = fault},
        kRotationFactors + message, kConvertAgain);
  };
  std::vector<float> factors(frequencies.size());
  if (entry->dtype != DType::f32 || entry->rank != 1 || entry->dimensions[0] != factors.size()) {
    throw_factors_error(FormatFault::unsupported,
                        " is not a vector of " + std::to_string(factors.size()) + " f32 elements");
  }
  // Read from the file, because these few bytes are needed before the weights are loaded.
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(entry->offset));
  file.read(reinterpret_cast<char*>(factors.data()),
            static_cast<std::streamsize>(factors.size() * sizeof(float)));
  if (!file) throw_factors_error(FormatFault::cut_off, " cannot be read completely");
  std::ranges::transform(frequencies, factors, frequencies.begin(), std::divides<>());
  return frequencies;
}

}  // namespace tapedeck::llama
