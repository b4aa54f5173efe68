// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "llama/llama_files.hpp"
#include "llama/llama_weights.hpp"
#include "llama/model_error.hpp"

namespace tapedeck::llama {
namespace {

std::string text_of(std::span<const std::uint64_t> shape) {
  std::string text = "[";
  for (const std::uint64_t dimension : shape) {
    if (text.size() > 1) text += " x ";
    text += std::to_string(dimension);
  }
  return text + "]";
}

std::string text_of(std::span<const DType> types) {
  std::string text;
  for (const DType type : types) {
    if (!text.empty()) text += type == types.back() ? " or " : ", ";
    text += to_string(type);
  }
  return text;
}

/// Finds tensors by their role, and keeps track of those that were never looked up.
class TensorFinder {
 public:
  explicit TensorFinder(const Model& model)
      : model_(model), entries_(model.tensors.entries()), known_(entries_.size(), false) {
    for (std::uint32_t i = 0; i < entries_.size(); ++i) by_id_.try_emplace(entries_[i].id, i);
  }

  /// @param what  the tensor's name in the error if there is none: "the embedding table".
  std::uint32_t find_tensor(const PartId& id, const std::string& what, std::uint64_t rows,
                            std::uint64_t columns) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) {
      throw FormatError(
          {.path = model_.path.string(), .field = what, .fault = FormatFault::missing},
          "the model has no tensor for " + what, "it is incomplete: convert it again");
    }
    if (is_norm(id.part)) {
      check_tensor(found->second, {{columns}}, {{DType::f32}});
    } else {
      check_tensor(found->second, {{rows, columns}}, kMatrixTypes);
    }
    return found->second;
  }

  void check_rotation_factors(std::uint64_t pairs) {
    const TensorEntry* const entry = model_.tensors.find(kRotationFactors);
    if (entry == nullptr) return;
    check_tensor(static_cast<std::uint32_t>(entry - entries_.data()), {{pairs}}, {{DType::f32}});
  }

  void check_nothing_is_left() const {
    const auto other = std::find(known_.begin(), known_.end(), false);
    if (other == known_.end()) return;
    throw_tensor_error(entries_[static_cast<std::size_t>(other - known_.begin())],
                       FormatFault::unsupported, " is not supported", kOnlyDenseLlama);
  }

 private:
  void check_tensor(std::uint32_t index, std::span<const std::uint64_t> shape,
                    std::span<const DType> types) {
    const TensorEntry& entry = entries_[index];
    known_[index] = true;
    // A tensor that holds all layers has no shape of its own in the file.
    if (!entry.id.every_layer && !std::ranges::equal(entry.shape(), shape)) {
      throw_tensor_error(entry, FormatFault::contradictory,
                         " has shape " + text_of(entry.shape()) +
                             ", but the model's hyperparameters imply " + text_of(shape),
                         kConvertAgain);
    }
    if (std::ranges::find(types, entry.dtype) == types.end()) {
      throw_tensor_error(entry, FormatFault::unsupported,
                         " has type " + std::string(to_string(entry.dtype)) + ", but only " +
                             text_of(types) + " is supported",
                         kConvertAgain);
    }
  }

  [[noreturn]] void throw_tensor_error(const TensorEntry& entry, FormatFault fault,
                                       const std::string& message, const char* advice) const {
    const TensorFile& file = model_.tensors.files()[entry.file];
    throw FormatError({.path = file.path.string(),
                       .offset = std::min(entry.offset, file.size),
                       .field = std::string(entry.name),
                       .fault = fault},
                      "tensor " + quoted(entry.name) + message, advice);
  }

  const Model& model_;
  std::span<const TensorEntry> entries_;
  std::vector<bool> known_;  // by index
  std::map<PartId, std::uint32_t> by_id_;
};

}  // namespace

TensorParts find_llama_tensors(const Model& model, const Shape& shape) {
  const bool together = model.format == ModelFormat::llama2c;  // one tensor holds all layers
  TensorFinder finder(model);
  TensorParts parts(shape.layers + 2);
  parts.front() = {
      finder.find_tensor({.part = Part::embedding}, "the embedding table", shape.vocab, shape.dim)};
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const LayerArray& array : layer_arrays(shape)) {
      PartId id = {.part = array.part, .every_layer = together};
      if (!together) id.layer = layer;
      parts[1 + layer].push_back(finder.find_tensor(
          id, array.name + (" of layer " + std::to_string(layer)), array.rows, array.columns));
    }
  }
  parts.back() = {finder.find_tensor({.part = Part::final_norm}, "the final norm", 1, shape.dim),
                  shape.own_classifier ? finder.find_tensor({.part = Part::head}, "the classifier",
                                                            shape.vocab, shape.dim)
                                       : parts.front()[0]};
  finder.check_rotation_factors(shape.key_head() / 2);
  // A llama2.c checkpoint also stores tables of angles, which this decoder computes instead.
  if (!together) finder.check_nothing_is_left();
  return parts;
}

}  // namespace tapedeck::llama
