#include "plan/weights_quantisation.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "plan/sizes.hpp"

namespace tapedeck::internal {
namespace {

/// Parts of a layer that a config leaves out by the module's name in checkpoints.
struct Module {
  std::string_view name;
  Part first;
  Part last;
};
constexpr auto kModules = std::to_array<Module>({
    {"self_attn", Part::query, Part::attention_other},
    {"shared_expert", Part::shared_gate, Part::shared_other},
    {"mlp\\.(gate", Part::gate, Part::gate_up},
    {"mlp.down_proj", Part::down, Part::down},
});

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The keys of one quantization_config, wherever it stands.
class Config {
 public:
  explicit Config(const Metadata& metadata) : metadata_(metadata) {
    for (const std::string_view scope : {"", "text_config."}) {
      scope_ = std::string(scope) + "quantization_config.";
      if (metadata_.has(scope_ + "quant_method")) return;
    }
  }

  [[nodiscard]] std::string_view text(std::string_view key) const {
    return metadata_.string(scope_ + std::string(key)).value_or("");
  }
  [[nodiscard]] std::optional<std::uint64_t> integer(std::string_view key) const {
    return metadata_.integer(scope_ + std::string(key));
  }
  [[nodiscard]] std::optional<bool> flag(std::string_view key) const {
    return metadata_.boolean(scope_ + std::string(key));
  }
  [[nodiscard]] std::span<const std::int64_t> integers(std::string_view key) const {
    return metadata_.integers(scope_ + std::string(key));
  }
  [[nodiscard]] std::span<const std::string> texts(std::string_view key) const {
    return metadata_.strings(scope_ + std::string(key));
  }

 private:
  const Metadata& metadata_;
  std::string scope_;
};

Quantisation float8(const Config& config) {
  Quantisation out{.kind = Quantisation::Kind::blocks, .type = DType::f8_e4m3};
  const auto block = config.integers("weight_block_size");
  if (block.size() == 2 && block[0] > 0 && block[1] > 0) {
    out.block_rows = static_cast<std::uint64_t>(block[0]);
    out.block_columns = static_cast<std::uint64_t>(block[1]);
  }
  return out;
}

Quantisation mxfp4() { return {.kind = Quantisation::Kind::groups, .type = DType::mxfp4}; }

// Packed in 32-bit words, a 16-bit scale a group of columns.
Quantisation int4(std::uint64_t group, bool zero_points) {
  return {.kind = Quantisation::Kind::groups,
          .type = DType::f4,
          .scale_type = DType::f16,
          .block_rows = 1,
          .block_columns = group,
          .zero_points = zero_points};
}

std::optional<Quantisation> compressed_tensors(const Config& config) {
  const std::string_view format = config.text("format");
  const std::string weights = "config_groups.group_0.weights.";
  if (holds(format, "mxfp4")) return mxfp4();
  if (format == "float-quantized" || format == "naive-quantized") {
    Quantisation out = float8(config);
    if (config.text(weights + "strategy") == "channel") out.block_rows = 1;
    return out;
  }
  if (format != "pack-quantized" || config.integer(weights + "num_bits") != 4) return std::nullopt;
  const std::uint64_t group = config.integer(weights + "group_size").value_or(0);
  return int4(group, !config.flag(weights + "symmetric").value_or(true));
}

std::optional<Quantisation> by_method(const Config& config) {
  const std::string_view method = config.text("quant_method");
  if (method == "fp8" || method == "fbgemm_fp8") return float8(config);
  if (method == "mxfp4") {
    Quantisation out = mxfp4();
    out.experts_only = true;
    return out;
  }
  if (method == "compressed-tensors") return compressed_tensors(config);
  const bool gptq = method == "gptq";
  if ((!gptq && method != "awq") || config.integer("bits") != 4) return std::nullopt;
  Quantisation out = int4(config.integer("group_size").value_or(128), true);
  out.column_index = gptq;
  return out;
}

}  // namespace

bool Quantisation::covers(const Parameter& parameter) const {
  if (kind == Kind::none) return false;
  if (parameter.kind != ParameterKind::expert &&
      (experts_only || parameter.kind != ParameterKind::matrix)) {
    return false;
  }
  const Part part = parameter.id.part;
  if (part == Part::router) return false;  // it decides, and is small
  return std::none_of(skipped.begin(), skipped.end(), [&](const std::string& module) {
    return std::any_of(kModules.begin(), kModules.end(), [&](const Module& known) {
      return holds(module, known.name) && part >= known.first && part <= known.last;
    });
  });
}

std::uint64_t Quantisation::extra_bytes(const Parameter& parameter) const {
  if (type == DType::mxfp4) return 0;  // its blocks hold their scale
  const std::uint64_t block_high = block_rows != 0 ? block_rows : parameter.rows;
  const std::uint64_t block_wide = block_columns != 0 ? block_columns : parameter.columns;
  if (block_high == 0 || block_wide == 0) return 0;
  const CheckedSize scales =
      CheckedSize(parts(parameter.rows, block_high)) * parts(parameter.columns, block_wide);
  CheckedSize bytes = scales * traits(scale_type).block_bytes;
  if (zero_points) bytes = bytes + parts(fits(scales), 2);
  if (column_index) bytes = bytes + CheckedSize(parameter.columns) * sizeof(std::int32_t);
  return fits(bytes);
}

DType unquantised_type(const Metadata& metadata) {
  for (const char* key : {"torch_dtype", "dtype", "text_config.torch_dtype", "text_config.dtype"}) {
    const auto name = metadata.string(key);
    const auto type = name ? dtype_from_name(*name) : std::nullopt;
    if (type) return *type;
  }
  return DType::bf16;
}

Quantisation read_quantisation(const Metadata& metadata, std::vector<std::string>& warnings) {
  const Config config(metadata);
  const std::string_view method = config.text("quant_method");
  if (method.empty()) return {};
  std::optional<Quantisation> out = by_method(config);
  if (!out) {
    warnings.push_back("unknown quantization_config " + std::string(method) +
                       ": planned as if there were none");
    return {};
  }
  for (const std::string_view key : {"modules_to_not_convert", "ignore"}) {
    const auto modules = config.texts(key);
    out->skipped.insert(out->skipped.end(), modules.begin(), modules.end());
  }
  return *std::move(out);
}

}  // namespace tapedeck::internal
