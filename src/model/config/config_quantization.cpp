#include "model/config/config_quantization.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tapedeck::internal {
namespace {

/// Parts of a layer that a config leaves out by the module's name in checkpoints.
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

/// Reads the keys of one quantization_config.
class QuantizationReader {
 public:
  explicit QuantizationReader(const Figures& figures) : figures_(figures) {}

  StoredQuantization read() {
    out_.method = text("quant_method");
    if (out_.method.empty()) return out_;
    out_.known = read_method();
    for (const char* key : {"torch_dtype", "dtype"}) {
      const auto name = figures_.text(key);
      const auto type = name ? dtype_from_name(*name) : std::nullopt;
      if (!type) continue;
      out_.other_type = *type;
      break;
    }
    for (const char* key : {"modules_to_not_convert", "ignore"}) {
      for (const std::string& module : figures_.texts(key_of(key))) leave_out(module);
    }
    return out_;
  }

 private:
  static std::string key_of(std::string_view key) {
    return "quantization_config." + std::string(key);
  }
  [[nodiscard]] std::string_view text(std::string_view key) const {
    return figures_.text(key_of(key)).value_or("");
  }
  [[nodiscard]] std::optional<std::uint64_t> count(std::string_view key) const {
    return figures_.count(key_of(key));
  }

  bool read_method() {
    const std::string_view method = out_.method;
    if (method == "fp8" || method == "fbgemm_fp8") return set_float8();
    if (method == "mxfp4") {
      out_.experts_only = true;
      return set_mxfp4();
    }
    if (method == "compressed-tensors") return read_compressed_tensors();
    const bool gptq = method == "gptq";
    if ((!gptq && method != "awq") || count("bits") != 4) return false;
    out_.column_index = gptq;
    return set_int4(count("group_size").value_or(128), true);
  }

  bool read_compressed_tensors() {
    const std::string_view format = text("format");
    const std::string weights = "config_groups.group_0.weights.";
    if (format.find("mxfp4") != std::string_view::npos) return set_mxfp4();
    if (format == "float-quantized" || format == "naive-quantized") {
      set_float8();
      if (text(weights + "strategy") == "channel") out_.block_rows = 1;
      return true;
    }
    if (format != "pack-quantized" || count(weights + "num_bits") != 4) return false;
    const bool symmetric = figures_.flag(key_of(weights + "symmetric")).value_or(true);
    return set_int4(count(weights + "group_size").value_or(0), !symmetric);
  }

  bool set_float8() {
    out_.type = DType::f8_e4m3;
    const auto block = figures_.integers(key_of("weight_block_size"));
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

  // Packed in 32-bit words, a 16-bit scale for each group of columns.
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

  const Figures& figures_;
  StoredQuantization out_;
};

}  // namespace

StoredQuantization read_stored_quantization(const Figures& figures) {
  return QuantizationReader(figures).read();
}

}  // namespace tapedeck::internal
