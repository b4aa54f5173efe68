// SPDX-License-Identifier: Apache-2.0
#include "plan/weights_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

#include "base/amounts.hpp"
#include "plan/sizes.hpp"
#include "tapedeck/base/error.hpp"

namespace tapedeck::internal {
namespace {

bool is_4_bit(DType type) {
  const DTypeTraits& of = traits(type);
  const double bits = 8.0 * of.block_bytes / of.block_elements;
  return bits >= 4.0 && bits < 5.5;
}

/// Returns the type nearest to `wanted` whose blocks divide a row, as quantizers do.
DType type_for_row(DType wanted, std::uint64_t columns) {
  for (const DType type : {wanted, DType::q8_0}) {
    if (columns % traits(type).block_elements == 0) return type;
  }
  return DType::f16;
}

std::uint64_t bytes_of_tensors(DType type, std::uint64_t count, std::uint64_t rows,
                               std::uint64_t columns) {
  return fits(CheckedSize(row_bytes(type, columns)) * rows * count);
}

/// Plans the weights from the tensor directory.
TapePlan plan_tensors(const Model& model, const PlanOptions& options,
                      std::vector<std::string>& warnings) {
  TapePlan out(TapeKind::weights);
  std::size_t fallbacks = 0;
  for (const TensorEntry& tensor : model.tensors.entries()) {
    Region region = region_of(tensor);
    const std::uint64_t columns = tensor.rank < 2 ? 0 : region.shape.back();
    if (options.weights_type && columns != 0) {
      region.dtype = type_for_row(*options.weights_type, columns);
      region.bytes = bytes_of_tensors(region.dtype, 1, tensor.elements() / columns, columns);
      if (region.dtype != *options.weights_type) ++fallbacks;
    }
    out.append(std::move(region));
  }
  if (fallbacks != 0) {
    warnings.push_back("q8_0 or f16 is planned for " + count_of(fallbacks, "tensor") +
                       " with rows that are not whole blocks of " +
                       std::string(to_string(*options.weights_type)));
  }
  return out;
}

/// Returns the bytes of the scales, zero points and indices of one tensor.
std::uint64_t bytes_beside(const StoredQuantization& stored, const Parameter& parameter) {
  if (stored.type == DType::mxfp4) return 0;  // Its blocks contain their scales.
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

/// Plans the weights from the parameters that the architecture implies.
class ParameterPlanner {
 public:
  ParameterPlanner(const Model& model, const PlanOptions& options,
                   std::vector<std::string>& warnings)
      : shape_(model.shape), options_(options) {
    if (options_.weights_type) return;
    if (quantization().quantized()) {
      plain_type_ = quantization().other_type;
      return;
    }
    if (!quantization().method.empty()) {
      warnings.push_back("quantization_config " + quantization().method +
                         " is unknown; the weights are planned as if they were not quantized");
    }
    plain_type_ = shape_.dtype.value_or(DType::bf16);
    if (!shape_.dtype) warnings.emplace_back("the model states no weight type; bf16 is assumed");
  }

  TapePlan plan() {
    for (const Parameter& parameter : shape_.parameters) add_parameter(parameter);
    return std::move(out_);
  }

 private:
  [[nodiscard]] const StoredQuantization& quantization() const { return shape_.quantization; }

  [[nodiscard]] bool quantized(const Parameter& parameter) const {
    return !options_.weights_type && quantization().covers(parameter);
  }

  [[nodiscard]] DType type_of(const Parameter& parameter) const {
    if (quantized(parameter)) return type_for_row(quantization().type, parameter.columns);
    if (!options_.weights_type) return plain_type_;
    const bool vector = parameter.rows <= 1 || parameter.kind == ParameterKind::norm ||
                        parameter.kind == ParameterKind::bias;
    return vector ? DType::f32 : type_for_row(*options_.weights_type, parameter.columns);
  }

  void add_parameter(const Parameter& parameter) {
    const DType type = type_of(parameter);
    append_region(
        {.id = parameter.id,
         .name = parameter.name,
         .bytes = bytes_of_tensors(type, parameter.count, parameter.rows, parameter.columns),
         .dtype = type,
         .shape = {parameter.count, parameter.rows, parameter.columns}});
    if (!quantized(parameter) || type != quantization().type) return;
    Region scales = {
        .id = parameter.id,
        .name = parameter.name + ".scales",
        .bytes = fits(CheckedSize(bytes_beside(quantization(), parameter)) * parameter.count),
        .dtype = quantization().scale_type};
    scales.id.piece = Piece::scale;
    append_region(std::move(scales));
  }

  void append_region(Region region) {
    if (region.bytes == 0) return;
    // Parameters of different shapes may share a name.
    if (const std::size_t same = ++names_[region.name]; same != 1) {
      region.name += "#" + std::to_string(same);
    }
    out_.append(std::move(region));
  }

  const ModelShape& shape_;
  const PlanOptions& options_;
  DType plain_type_ = DType::bf16;
  std::map<std::string, std::size_t> names_;
  TapePlan out_{TapeKind::weights};
};

void check_weights_type(const PlanOptions& options) {
  const DType type = options.weights_type.value_or(DType::f16);
  if (type < DType::i16 || type > DType::c64) return;
  throw InvalidArgument({.argument = "PlanOptions::weights_type"},
                        "weights cannot be of type " + std::string(to_string(type)),
                        "use a common type such as f16, bf16, q8_0 or q4_k");
}

void check_weights_bytes(const Model& model, const PlanOptions& options) {
  if (options.weights_bytes == 0) return;
  const InvalidArgument::Facts facts = {
      .argument = "PlanOptions::weights_bytes", .value = options.weights_bytes, .limit = 0};
  if (!model.tensors.empty()) {
    throw InvalidArgument(facts,
                          "PlanOptions::weights_bytes states the size of weights whose sizes the "
                          "model's own files state",
                          "leave it out");
  }
  if (options.weights_type) {
    throw InvalidArgument(facts,
                          "PlanOptions::weights_bytes and PlanOptions::weights_type exclude each "
                          "other",
                          "give the size of the weights, or their type");
  }
}

/// Weights of which only the size of all is known. Their warning says that the caller stated it.
TapePlan plan_stated(std::uint64_t bytes, std::vector<std::string>& warnings) {
  warnings.push_back("the weights are taken to be " + count_of(bytes, "byte") + ", as stated");
  TapePlan out(TapeKind::weights);
  out.append({.name = "weights", .bytes = bytes, .dtype = DType::u8, .shape = {bytes}});
  return out;
}

}  // namespace

Region region_of(const TensorEntry& tensor) {
  return {.id = tensor.id,
          .name = tensor.name.empty() ? "(no name)" : std::string(tensor.name),
          .bytes = tensor.bytes,
          .dtype = tensor.dtype,
          .shape = {tensor.shape().begin(), tensor.shape().end()}};
}

TapePlan plan_weights(const Model& model, const PlanOptions& options,
                      std::vector<std::string>& warnings) {
  check_weights_type(options);
  check_weights_bytes(model, options);
  if (options.weights_bytes != 0) return plan_stated(options.weights_bytes, warnings);
  if (!model.tensors.empty()) return plan_tensors(model, options, warnings);
  if (model.shape.parameters.empty()) {
    warnings.emplace_back(
        "the weights are not planned, because the model has no tensors and the parameters of "
        "architecture " +
        model.shape.architecture + " are not known");
    return TapePlan(TapeKind::weights);
  }
  return ParameterPlanner(model, options, warnings).plan();
}

bool has_4_bit_weights(const Model& model, const PlanOptions& options) {
  if (options.weights_type) return is_4_bit(*options.weights_type);
  if (std::ranges::any_of(model.tensors.entries(), is_4_bit, &TensorEntry::dtype)) return true;
  const StoredQuantization& stored = model.shape.quantization;
  return stored.quantized() && is_4_bit(stored.type);
}

}  // namespace tapedeck::internal
