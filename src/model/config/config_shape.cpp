// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/printable.hpp"
#include "model/architectures.hpp"
#include "model/config/left_out.hpp"
#include "model/figures.hpp"
#include "model/layers.hpp"
#include "model/parameter_collector.hpp"
#include "model/unused_fields.hpp"

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

  /// @param layers  of the model
  StoredQuantization read(std::optional<DType> stated, std::uint64_t layers) {
    out_.method = stored_.text("quant_method").value_or("");
    if (out_.method.empty()) return out_;
    out_.known = read_method();
    if (!out_.known) stored_.consider_all();  // The planner names the method.
    out_.other_type = stated.value_or(out_.other_type);
    for (const char* key : {"modules_to_not_convert", "ignore"}) {
      for (const std::string& module : stored_.texts(key)) leave_out(module);
    }
    const auto differs = [&](const auto& of) { return !of.empty() && of.size() < layers; };
    differs_by_layer_ = out_.known && std::ranges::any_of(numbers_, differs);
    return out_;
  }

  /// Whether modules of some layers are not quantized, but those of other layers are.
  [[nodiscard]] bool differs_by_layer() const noexcept { return differs_by_layer_; }

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
    weights.consider("num_bits");  // The format implies it.
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

  // "model.layers.7.self_attn" names one layer.
  void leave_out(std::string_view module) {
    for (std::size_t i = 0; i < kLeftOutModules.size(); ++i) {
      const LeftOutModule& left = kLeftOutModules[i];
      if (module.find(left.name) == std::string_view::npos) continue;
      const std::size_t number = module.find_first_of("0123456789");
      if (number != std::string_view::npos) {
        numbers_[i].insert(module.substr(number, module.find('.', number) - number));
      }
      for (auto part = static_cast<unsigned>(left.first); part <= static_cast<unsigned>(left.last);
           ++part) {
        out_.left_out |= std::uint64_t{1} << part;
      }
    }
  }

  const Figures& stored_;
  StoredQuantization out_;
  // For each module, the layers that name it by their number.
  std::array<std::set<std::string_view>, kLeftOutModules.size()> numbers_;
  bool differs_by_layer_ = false;
};

// MiniMax: 1 is full attention. 0 is lightning attention, which no rule here knows.
void consider_kinds_of_attention(const Figures& figures) {
  constexpr const char* kKinds = "attn_type_list";
  const auto kinds = figures.for_sizes(kNoSizes).integers(kKinds);
  const auto is_full = [](std::int64_t kind) { return kind == 1; };
  if (std::ranges::all_of(kinds, is_full)) figures.consider(kKinds);
}

}  // namespace

ModelShape config_shape(const std::string& path, const Metadata& metadata, bool listed) {
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
  const Figures of_quantization = figures.inside("quantization_config.");
  const auto layers = figures.find(Figure::layers);
  QuantizationReader quantization(of_quantization);
  stored = quantization.read(stated, layers.value_or(0));
  const bool whole = stored.method == "fp8" || stored.method == "mxfp4";
  shape.dtype = whole ? stored.type : stated;
  if (!layers) {  // The config describes something else. There may still be tensors to plan.
    shape.warnings.emplace_back("num_hidden_layers is missing, so the layers cannot be planned");
    return shape;
  }
  shape.vocabulary = figures.positive(Figure::vocabulary);
  shape.tied =
      figures.flag("tie_word_embeddings tie_embedding").value_or(named.architecture.has(kTied));
  const Figures of_weights = figures.for_sizes(kWeightSizes);
  shape.draft_layers = figures.for_sizes(kNoSizes).get(Figure::draft_layers, 0);
  shape.exact_weights = shape.exact_caches = true;
  consider_kinds_of_attention(figures);
  make_layers(figures, {}, *layers, shape);
  shape.parameters = make_parameters(of_weights, shape);
  if (!shape.parameters.empty() && !shape.parameter_count()) {
    figures.throw_figure_error(Figure::hidden, FormatFault::out_of_range,
                               "results in more parameters than can be counted");
  }
  if (shape.parameters.empty() && !listed) {
    assume(shape, kWeightSizes,
           "the tensors of " + printable(shape.architecture) +
               " are not all known, so its weights cannot be counted from the config");
  }
  if (quantization.differs_by_layer() && !listed) {
    assume(
        shape, kWeightSizes,
        "quantization_config leaves out modules of single layers; they are planned as if it left "
        "them out of all layers");
  }
  if (!listed) note_left_out(figures, shape);
  note_unused_fields(figures, kAllSizes, listed, shape);
  return shape;
}

}  // namespace tapedeck::internal
