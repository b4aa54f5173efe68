// SPDX-License-Identifier: Apache-2.0
/// @file
/// `LlamaModel`: a Llama model as an engine uses it: it is opened, planned, and computed with in
/// place.
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

/// A llama2.c checkpoint ("version 0") or a GGUF file of the llama architecture, including all
/// parts of a split file. Matrices have a type of `kMatrixTypes`; norms are f32. Opening a model
/// checks it completely but reads no weights; `weights().warm()` reads them. Tensors are found by
/// their role
/// (`PartId`), not by their name.
///
/// Thread-safety: `weights()` is as thread-safe as `tapedeck::Weights`; everything else is
/// immutable.
///
///     LlamaModel model("stories.gguf");
///     model.weights().warm().or_throw("bringing in the weights");
///     Layout layout(model.plan(), model.options());
class LlamaModel {
 public:
  /// @throws SystemError; InvalidArgument if `path` is not a regular file; FormatError, also for a
  /// model that this decoder does not support.
  explicit LlamaModel(const std::filesystem::path& path, const WeightsOptions& options = {});
  /// Takes the shape and metadata of `model`, and computes with other weights of the same parts and
  /// shapes: converted ones, or those another process shares. The types of the model's own tensors
  /// do not matter.
  /// @throws FormatError, also for a model that this decoder does not support; SystemError.
  LlamaModel(Model model, Weights weights);

  [[nodiscard]] const Model& model() const noexcept { return model_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }

  [[nodiscard]] Weights& weights() noexcept { return weights_; }
  [[nodiscard]] const Weights& weights() const noexcept { return weights_; }
  /// The weights by their role in the model.
  [[nodiscard]] const LlamaWeights& arrays() const noexcept { return arrays_; }
  /// The angle by which each pair of a head turns per position (`rotation_at`).
  [[nodiscard]] std::span<const float> frequencies() const noexcept { return frequencies_; }

  // A pass uses the model part by part: first the embedding table, then each layer, and last the
  // final norm and the classifier.
  [[nodiscard]] std::size_t parts() const noexcept { return parts_.size(); }
  /// The tensors of a part, as indices into the weights. @pre part < parts()
  [[nodiscard]] std::span<const std::uint32_t> tensors_of(std::size_t part) const noexcept {
    return parts_[part];
  }

  /// The plan of the model with K and V caches for `talks` talks of `positions` tokens each; 0
  /// positions means the model's own context length. The decoders compute in exactly these regions,
  /// one token per pass. Activations and caches have the type `element`; the CPU computes only in
  /// f32.
  /// @throws InvalidArgument if the plan does not fit in 64 bits.
  [[nodiscard]] Plan plan(std::size_t positions = 0, std::size_t talks = 1,
                          DType element = DType::f32) const;

  /// Options for a layout that uses the weights this model has loaded. The model must outlive the
  /// layout.
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

/// The model's description with the tensors that it computes with, which may be other ones than in
/// its file.
[[nodiscard]] Model model_to_plan(const LlamaModel& model);

}  // namespace tapedeck::llama
