/// @file
/// `LlamaModel`: a Llama model as an engine uses it: opened, planned, and computed with where it
/// lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "llama/llama_files.hpp"
#include "llama/llama_weights.hpp"
#include "llama/shape.hpp"
#include "tapedeck/base/abi.hpp"
#include "tapedeck/base/dtype.hpp"
#include "tapedeck/layout/layout.hpp"
#include "tapedeck/model/model.hpp"
#include "tapedeck/plan/plan.hpp"
#include "tapedeck/weights/weights.hpp"

namespace tapedeck::llama {

/// A llama2.c checkpoint ("version 0"), or a GGUF file of the llama architecture, all parts of a
/// split one: matrices of `kMatrixTypes`, norms in f32. Opening checks everything there is to know
/// of the model, and reads no weights: `weights().warm()` brings them. Tensors are found by what
/// they are (`PartId`), whatever they are called.
///
/// Thread-safety: as `tapedeck::Weights`; everything else is immutable.
///
///     LlamaModel model("stories.gguf");
///     model.weights().warm().or_throw("bringing in the weights");
///     Layout layout(model.plan(), model.options());
class LlamaModel {
 public:
  /// @throws SystemError; InvalidArgument if it is no regular file; FormatError, also for a model
  /// that is not decoded.
  explicit LlamaModel(const std::filesystem::path& path, const WeightsOptions& options = {});
  /// What `model` says, computed with weights that come from elsewhere, of the same parts and
  /// shapes: converted, or shared by another process. The types of the model's own do not matter.
  /// @throws as above
  LlamaModel(Model model, Weights weights);

  [[nodiscard]] const Model& model() const noexcept { return model_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }

  [[nodiscard]] Weights& weights() noexcept { return weights_; }
  [[nodiscard]] const Weights& weights() const noexcept { return weights_; }
  /// The same by their use.
  [[nodiscard]] const LlamaWeights& arrays() const noexcept { return arrays_; }
  /// How far each pair of a head turns a position (`rotation_at`).
  [[nodiscard]] std::span<const float> frequencies() const noexcept { return frequencies_; }

  // A pass uses the model part by part: the embedding table is the first one, then each layer, and
  // what comes after the layers is the last.
  [[nodiscard]] std::size_t parts() const noexcept { return parts_.size(); }
  /// The tensors of a part, by their place in the weights. @pre part < parts()
  [[nodiscard]] std::span<const std::uint32_t> tensors_of(std::size_t part) const noexcept {
    return parts_[part];
  }

  /// The plan of the model with K and V for each of `talks` of `positions` tokens; 0 positions: as
  /// many as the model was made for. The decoders compute in exactly its regions, one token at a
  /// time. Activations and caches are of `element`; the CPU computes in f32 alone.
  /// @throws InvalidArgument where that is more than can be addressed.
  [[nodiscard]] Plan plan(std::size_t positions = 0, std::size_t talks = 1,
                          DType element = DType::f32) const;

  /// Options of a layout over the weights that the model has loaded. The model must outlive it.
  [[nodiscard]] LayoutOptions options() const;

 private:
  LlamaModel(Model model, const WeightsOptions& options);

  [[nodiscard]] Matrix matrix_of(std::uint32_t tensor, std::size_t rows, std::size_t columns,
                                 std::size_t layer = 0) const;
  void find_arrays();

  Model model_;
  Shape shape_;
  std::vector<float> frequencies_;
  TensorParts parts_;
  Weights weights_;
  LlamaWeights arrays_;
};

/// The model with the tensors that it is computed with.
[[nodiscard]] Model model_to_plan(const LlamaModel& model);

}  // namespace tapedeck::llama
