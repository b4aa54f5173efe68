#include "plan/weights_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

bool is_4_bit(DType type) {
  const DTypeTraits& of = traits(type);
  const double bits = 8.0 * of.block_bytes / of.block_elements;
  return bits >= 4.0 && bits < 5.5;
}

/// The nearest type to the one wanted whose blocks divide a row, as quantizers fall back.
DType type_for_row(DType wanted, std::uint64_t columns) {
  for (const DType type : {wanted, DType::q8_0}) {
    if (columns % traits(type).block_elements == 0) return type;
  }
  return DType::f16;
}

std::uint64_t bytes_of_tensors(DType type, std::uint64_t count, std::uint64_t rows,
                               std::uint64_t columns) {
  const auto row = bytes_of(type, columns);
  if (!row) throw InvalidArgument("a row of " + std::to_string(columns) + " weights");
  return fits(CheckedSize(*row) * rows * count);
}

/// From the directory.
class TensorPlanner {
 public:
  TensorPlanner(const Model& model, const PlanOptions& options, std::vector<std::string>& warnings)
      : model_(model), options_(options), warnings_(warnings) {}

  TapePlan plan() {
    TapePlan out(TapeKind::weights);
    for (const TensorEntry& tensor : model_.tensors.entries()) out.append(region(tensor));
    if (fallbacks_ != 0) {
      warnings_.push_back(std::to_string(fallbacks_) + " tensors have rows that " +
                          std::string(to_string(*options_.weights_type)) +
                          " blocks do not divide: planned as q8_0 or f16");
    }
    return out;
  }

 private:
  Region region(const TensorEntry& tensor) {
    Region out{.id = tensor.id,
               .name = std::string(tensor.name),
               .role = RegionRole::weight,
               .bytes = tensor.bytes,
               .dtype = tensor.dtype,
               .shape = {tensor.shape().begin(), tensor.shape().end()}};
    if (out.name.empty()) out.name = "(no name)";
    if (!options_.weights_type || tensor.rank < 2) return out;
    const std::uint64_t columns = out.shape.back();
    if (columns == 0) return out;
    out.dtype = type_for_row(*options_.weights_type, columns);
    if (out.dtype != *options_.weights_type) ++fallbacks_;
    out.bytes = bytes_of_tensors(out.dtype, 1, tensor.elements() / columns, columns);
    return out;
  }

  const Model& model_;
  const PlanOptions& options_;
  std::vector<std::string>& warnings_;
  std::size_t fallbacks_ = 0;
};

/// Bytes of the scales, zero points and indices of one tensor.
std::uint64_t bytes_beside(const StoredQuantization& stored, const Parameter& parameter) {
  if (stored.type == DType::mxfp4) return 0;  // its blocks hold their scale
  const std::uint64_t block_high = stored.block_rows != 0 ? stored.block_rows : parameter.rows;
  const std::uint64_t block_wide =
      stored.block_columns != 0 ? stored.block_columns : parameter.columns;
  if (block_high == 0 || block_wide == 0) return 0;
  const CheckedSize scales =
      CheckedSize(parts(parameter.rows, block_high)) * parts(parameter.columns, block_wide);
  CheckedSize bytes = scales * traits(stored.scale_type).block_bytes;
  if (stored.zero_points) bytes = bytes + parts(fits(scales), 2);
  if (stored.column_index) bytes = bytes + CheckedSize(parameter.columns) * sizeof(std::int32_t);
  return fits(bytes);
}

/// From what the architecture implies.
class ParameterPlanner {
 public:
  ParameterPlanner(const Model& model, const PlanOptions& options,
                   std::vector<std::string>& warnings)
      : shape_(model.shape), options_(options), warnings_(warnings) {
    if (options_.weights_type) return;
    if (quantization().quantized()) {
      plain_type_ = quantization().other_type;
      return;
    }
    if (!quantization().method.empty()) {
      warnings_.push_back("unknown quantization_config " + quantization().method +
                          ": planned as if there were none");
    }
    plain_type_ = shape_.dtype.value_or(DType::bf16);
    if (!shape_.dtype) warnings_.emplace_back("the model states no type of its weights: bf16");
  }

  TapePlan plan() {
    for (const Parameter& parameter : shape_.parameters) add(parameter);
    return std::move(out_);
  }

 private:
  [[nodiscard]] const StoredQuantization& quantization() const { return shape_.quantization; }

  [[nodiscard]] DType type_of(const Parameter& parameter) const {
    const bool vector = parameter.rows <= 1 || parameter.kind == ParameterKind::norm ||
                        parameter.kind == ParameterKind::bias;
    if (options_.weights_type) {
      return vector ? DType::f32 : type_for_row(*options_.weights_type, parameter.columns);
    }
    if (!quantization().covers(parameter)) return plain_type_;
    return type_for_row(quantization().type, parameter.columns);
  }

  void add(const Parameter& parameter) {
    const DType type = type_of(parameter);
    append(parameter.id, parameter.name, type,
           bytes_of_tensors(type, parameter.count, parameter.rows, parameter.columns),
           {parameter.count, parameter.rows, parameter.columns});
    const bool quantized = !options_.weights_type && quantization().covers(parameter);
    if (!quantized || type != quantization().type) return;
    const std::uint64_t extra =
        fits(CheckedSize(bytes_beside(quantization(), parameter)) * parameter.count);
    PartId scales = parameter.id;
    scales.piece = Piece::scale;
    append(scales, parameter.name + ".scales", quantization().scale_type, extra, {});
  }

  void append(const PartId& id, const std::string& name, DType type, std::uint64_t bytes,
              std::vector<std::uint64_t> shape) {
    if (bytes == 0) return;
    // Tensors of one name and several shapes.
    const std::size_t same = ++names_[name];
    out_.append({.id = id,
                 .name = same == 1 ? name : name + "#" + std::to_string(same),
                 .role = RegionRole::weight,
                 .bytes = bytes,
                 .dtype = type,
                 .shape = std::move(shape)});
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  std::vector<std::string>& warnings_;
  DType plain_type_ = DType::bf16;
  std::map<std::string, std::size_t> names_;
  TapePlan out_{TapeKind::weights};
};

void check_weights_type(const PlanOptions& options) {
  if (!options.weights_type) return;
  const DType type = *options.weights_type;
  const bool number = type >= DType::i8 && type <= DType::c64;
  if (!number || type == DType::i8) return;
  throw InvalidArgument("no weights of type " + std::string(to_string(type)),
                        "f16, bf16, q8_0 and q4_k are usual");
}

}  // namespace

TapePlan plan_weights(const Model& model, const PlanOptions& options,
                      std::vector<std::string>& warnings) {
  check_weights_type(options);
  if (!model.tensors.empty()) return TensorPlanner(model, options, warnings).plan();
  if (model.shape.parameters.empty()) {
    warnings.emplace_back(
        "the weights are left out: no tensors, and the parameters of architecture " +
        model.shape.architecture + " are not known");
    return TapePlan(TapeKind::weights);
  }
  return ParameterPlanner(model, options, warnings).plan();
}

bool has_4_bit_weights(const Model& model, const PlanOptions& options) {
  if (options.weights_type) return is_4_bit(*options.weights_type);
  const auto entries = model.tensors.entries();
  if (std::any_of(entries.begin(), entries.end(),
                  [](const TensorEntry& tensor) { return is_4_bit(tensor.dtype); })) {
    return true;
  }
  const StoredQuantization& stored = model.shape.quantization;
  return stored.quantized() && is_4_bit(stored.type);
}

}  // namespace tapedeck::internal
