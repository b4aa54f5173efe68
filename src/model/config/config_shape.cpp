// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "model/layers.hpp"
#include "model/parameter_collector.hpp"

namespace tapedeck::internal {
namespace {

// The prefixes under which multi-part models describe their text decoder.
constexpr std::array<std::string_view, 5> kTextScopes = {
    "text_config.", "llm_config.", "language_config.", "thinker_config.text_config.",
    "language_model."};

std::vector<std::string> scopes_of(const Metadata& metadata) {
  for (const std::string_view scope : kTextScopes) {
    const auto is_inside = [&](const auto& entry) { return entry.key.starts_with(scope); };
    if (std::ranges::any_of(metadata.entries(), is_inside)) return {std::string(scope), ""};
  }
  return {""};
}

struct Named {
  std::string name;
  const Architecture& architecture;
};

// The text decoder's own name if the table has it, otherwise the name of the whole model.
Named architecture_of(const Metadata& metadata, const std::vector<std::string>& scopes) {
  std::string first;
  for (const std::string& scope : scopes) {
    const auto name = metadata.string(scope + "model_type");
    if (!name) continue;
    const Architecture& known = find_architecture(Dialect::config, *name);
    if (known.known()) return {std::string(*name), known};
    if (first.empty()) first = *name;
  }
  const auto classes = metadata.strings("architectures");
  if (first.empty() && !classes.empty()) first = classes.front();
  return {first, find_architecture(Dialect::config, "")};
}

/// The parts of a layer in a module. Configs list modules that are not quantized by these names.
struct LeftOutModule {
  std::string_view name;
  Part first;
  Part last;
};
constexpr auto kLeftOutModules = std::to_array<LeftOutModule>({
    {"self_attn", Part::query, Part::attention_other},
    {"shared_expert", Part::shared_gate, Part::shared_other},
    {"mlp\\.(gate", Part::gate, Part::gate_up},
    {"mlp.down_proj", Part::down, Part::down},
});

class QuantizationReader {
 public:
  /// @param stored  the values of the quantization_config.
  explicit QuantizationReader(const Figures& stored) : stored_(stored) {}

  StoredQuantization read(std::optional<DType> stated) {
    out_.method = stored_.text("quant_method").value_or("");
    if (out_.method.empty()) return out_;
    out_.known = read_method();
    out_.other_type = stated.value_or(out_.other_type);
    for (const char* key : {"modules_to_not_convert", "ignore"}) {
      for (const std::string& module : stored_.texts(key)) leave_out(module);
    }
    return out_;
  }

 private:
  bool read_method() {
    const std::string_view method = out_.method;
    if (method == "fp8" || method == "fbgemm_fp8") return set_float8();
    out_.experts_only = method == "mxfp4";
    if (out_.experts_only) return set_mxfp4();
    if (method == "compressed-tensors") return read_compressed_tensors();
    const bool gptq = method == "gptq";
    if ((!gptq && method != "awq") || stored_.count("bits") != 4) return false;
    out_.column_index = gptq;
    return set_int4(stored_.count("group_size").value_or(128), true);
  }

  bool read_compressed_tensors() {
    const std::string_view format = stored_.text("format").value_or("");
    const Figures weights = stored_.inside("config_groups.group_0.weights.");
    if (format.find("mxfp4") != std::string_view::npos) return set_mxfp4();
    if (format == "float-quantized" || format == "naive-quantized") {
      set_float8();
      if (weights.text("strategy") == "channel") out_.block_rows = 1;
      return true;
    }
    if (format != "pack-quantized" || weights.count("num_bits") != 4) return false;
    const bool symmetric = weights.flag("symmetric").value_or(true);
    return set_int4(weights.count("group_size").value_or(0), !symmetric);
  }

  bool set_float8() {
    out_.type = DType::f8_e4m3;
    const auto block = stored_.integers("weight_block_size");
    if (block.size() == 2 && block[0] > 0 && block[1] > 0) {
      out_.block_rows = static_cast<std::uint64_t>(block[0]);
      out_.block_columns = static_cast<std::uint64_t>(block[1]);
    }
    return true;
  }

  bool set_mxfp4() {
    out_.type = DType::mxfp4;
    return true;
  }

  // Packed in 32-bit words, with a 16-bit scale for each group of columns.
  bool set_int4(std::uint64_t group, bool zero_points) {
    out_.type = DType::f4;
    out_.scale_type = DType::f16;
    out_.block_rows = 1;
    out_.block_columns = group;
    out_.zero_points = zero_points;
    return true;
  }

  void leave_out(std::string_view module) {
    for (const LeftOutModule& left : kLeftOutModules) {
      if (module.find(left.name) == std::string_view::npos) continue;
      for (auto part = static_cast<unsigned>(left.first); part <= static_cast<unsigned>(left.last);
           ++part) {
        out_.left_out |= std::uint64_t{1} << part;
      }
    }
  }

  const Figures& stored_;
  StoredQuantization out_;
};

void note_gaps(const Figures& figures, ModelShape& shape) {
  if (shape.parameters.empty()) {
    shape.warnings.push_back(
        "the tensors of " + shape.architecture +
        " are not all known, so its weights cannot be counted from the config");
  } else if (figures.find(Figure::indexer_dim)) {
    shape.warnings.emplace_back("the tensors of the sparse indexer are not counted");
  }
}

}  // namespace

ModelShape config_shape(const std::string& path, const Metadata& metadata) {
  const std::vector<std::string> scopes = scopes_of(metadata);
  const Named named = architecture_of(metadata, scopes);
  const Figures figures(path, metadata, Dialect::config, scopes, named.architecture);
  ModelShape shape;
  shape.architecture = named.name;
  std::optional<DType> stated;
  for (const char* const key : {"dtype", "torch_dtype"}) {
    const auto name = stated ? std::nullopt : figures.text(key);
    if (name) stated = dtype_from_name(*name);
  }
  StoredQuantization& stored = shape.quantization;
  stored = QuantizationReader(figures.inside("quantization_config.")).read(stated);
  const bool whole = stored.method == "fp8" || stored.method == "mxfp4";
  shape.dtype = whole ? stored.type : stated;
  const auto layers = figures.find(Figure::layers);
  if (!layers) {  // The config describes something else. There may still be tensors to plan.
    shape.warnings.emplace_back("num_hidden_layers is missing, so the layers cannot be planned");
    return shape;
  }
  shape.vocabulary = figures.positive(Figure::vocabulary);
  shape.tied =
      figures.flag("tie_word_embeddings tie_embedding").value_or(named.architecture.has(kTied));
  shape.draft_layers = figures.get(Figure::draft_layers, 0);
  make_layers(figures, {}, *layers, shape);
  shape.parameters = make_parameters(figures, shape);
  if (!shape.parameters.empty() && !shape.parameter_count()) {
    figures.throw_figure_error(Figure::hidden, FormatFault::out_of_range,
                               "results in more parameters than can be counted");
  }
  note_gaps(figures, shape);
  shape.exact = shape.warnings.empty();
  return shape;
}

}  // namespace tapedeck::internal
