#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/architectures.hpp"
#include "model/config/config_quantization.hpp"
#include "model/figures.hpp"
#include "model/graph_shape.hpp"
#include "model/layers.hpp"
#include "model/parameters.hpp"

namespace tapedeck::internal {
namespace {

// Where models of several parts keep what is said of their text decoder.
constexpr std::array<std::string_view, 5> kTextScopes = {
    "text_config.", "llm_config.", "language_config.", "thinker_config.text_config.",
    "language_model."};

std::vector<std::string> scopes_of(const Metadata& metadata) {
  for (const std::string_view scope : kTextScopes) {
    const auto entries = metadata.entries();
    const bool there = std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
      return std::string_view(entry.key).starts_with(scope);
    });
    if (there) return {std::string(scope), ""};
  }
  return {""};
}

struct Named {
  std::string name;
  const Architecture* known = nullptr;
};

// The text decoder's own name, where the table has it, else the whole model's.
Named architecture_of(const Metadata& metadata, const std::vector<std::string>& scopes) {
  Named first;
  for (const std::string& scope : scopes) {
    const auto name = metadata.string(scope + "model_type");
    if (!name) continue;
    const Architecture* const known = find_architecture(Dialect::config, *name);
    if (known != nullptr) return {std::string(*name), known};
    if (first.name.empty()) first.name = *name;
  }
  if (first.name.empty()) {
    const auto classes = metadata.strings("architectures");
    if (!classes.empty()) first.name = classes.front();
  }
  return first;
}

std::optional<DType> weights_type(const Figures& figures) {
  const auto method = figures.text("quantization_config.quant_method");
  if (method == "fp8") return DType::f8_e4m3;
  if (method == "mxfp4") return DType::mxfp4;
  const auto stated = figures.text("dtype torch_dtype");
  return stated ? dtype_from_name(*stated) : std::nullopt;
}

void note_gaps(const Figures& figures, ModelShape& shape) {
  if (shape.parameters.empty()) {
    shape.warnings.push_back("the tensors of " + shape.architecture +
                             " are not all known: its weights cannot be counted from the config");
  } else if (figures.find(Figure::indexer_dim)) {
    shape.warnings.emplace_back("a sparse indexer: its own tensors are not counted");
  }
}

}  // namespace

ModelShape config_shape(const std::string& path, const Metadata& metadata) {
  const std::vector<std::string> scopes = scopes_of(metadata);
  const Named named = architecture_of(metadata, scopes);
  Figures figures(path, metadata, Dialect::config, scopes);
  if (named.known != nullptr) {
    figures.add_defaults(named.known->defaults);
    figures.add_defaults(named.known->config_defaults);
  }

  ModelShape shape;
  shape.architecture = named.name;
  shape.quantization = read_stored_quantization(figures);
  shape.dtype = weights_type(figures);
  const auto layers = figures.find(Figure::layers);
  if (!layers) {  // The config of something else, maybe beside tensors that can be planned.
    shape.warnings.emplace_back("num_hidden_layers is missing: its layers cannot be planned");
    return shape;
  }
  shape.vocabulary = figures.get(Figure::vocabulary, 0);
  if (shape.vocabulary == 0) figures.refuse(Figure::vocabulary, "is 0");
  shape.tied = figures.flag("tie_word_embeddings tie_embedding")
                   .value_or(named.known != nullptr && named.known->has(kTied));
  shape.draft_layers = figures.get(Figure::draft_layers, 0);
  make_layers(figures, named.known, {}, *layers, shape);
  if (named.known != nullptr) {
    shape.parameters = make_parameters(figures, *named.known, shape);
    if (!shape.parameters.empty() && !shape.parameter_count()) {
      figures.refuse(Figure::hidden, "makes more parameters than can be counted");
    }
  }
  note_gaps(figures, shape);
  shape.graph = graph_shape(figures, named.known, {}, shape);
  shape.windowless_engine = engine_is_windowless(shape.architecture);
  shape.exact = shape.warnings.empty();
  return shape;
}

}  // namespace tapedeck::internal
