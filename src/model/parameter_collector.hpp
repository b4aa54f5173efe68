// SPDX-License-Identifier: Apache-2.0
/// @file
/// `ParameterCollector`: collects the tensors that an architecture implies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// The name and the identity of the tensors of one kind.
struct ParameterLabel {
  std::string_view name;  ///< Must be a literal.
  Part part = Part::other;
  Piece piece = Piece::weight;
  bool every_layer = true;  ///< Each layer that has this part has such a tensor.
};

[[nodiscard]] constexpr ParameterLabel outside(std::string_view name, Part part = Part::other) {
  return {.name = name, .part = part, .every_layer = false};
}

[[nodiscard]] constexpr ParameterLabel bias_of(ParameterLabel label,
                                               std::string_view name = "bias") {
  label.name = name;
  label.piece = Piece::bias;
  return label;
}

/// Collects tensors. Tensors of the same name and shape are counted together.
class ParameterCollector {
 public:
  ParameterCollector(const Figures& of, const ModelShape& made)
      : figures(of), shape(made), hidden(made.hidden) {}

  void add_parameter(const ParameterLabel& label, ParameterKind kind, std::uint64_t rows,
                     std::uint64_t columns, std::uint64_t count = 1);
  void add_matrix(const ParameterLabel& label, std::uint64_t rows, std::uint64_t columns,
                  std::uint64_t count = 1) {
    add_parameter(label, ParameterKind::matrix, rows, columns, count);
  }
  void add_other(const ParameterLabel& label, std::uint64_t rows, std::uint64_t columns,
                 std::uint64_t count = 1) {
    add_parameter(label, ParameterKind::other, rows, columns, count);
  }
  void add_bias(const ParameterLabel& label, std::uint64_t elements, std::uint64_t count = 1) {
    add_parameter(label, ParameterKind::bias, 1, elements, count);
  }
  void add_norm(const ParameterLabel& label, std::uint64_t width, std::uint64_t count = 1);
  /// Adds the weight of a projection, and its bias if `bias` is true.
  void add_projection(const ParameterLabel& label, std::uint64_t rows, std::uint64_t columns,
                      bool bias);

  [[nodiscard]] bool has(Trait trait) const { return figures.architecture().has(trait); }
  [[nodiscard]] bool is_of(Family family) const { return figures.architecture().family == family; }
  [[nodiscard]] bool says(std::string_view key) const { return figures.says(key); }
  /// The figure of a key that only one family has. @throws FormatError if it is out of range.
  [[nodiscard]] std::uint64_t figure_of_key(std::string_view key, std::uint64_t otherwise) const;

  [[nodiscard]] std::vector<Parameter> take() && { return std::move(parameters_); }

  const Figures& figures;
  const ModelShape& shape;
  const std::uint64_t hidden;

 private:
  std::vector<Parameter> parameters_;
  std::map<std::tuple<std::string_view, std::uint64_t, std::uint64_t>, std::size_t> index_;
};

/// Adds the tensors of a layer's recurrent branch.
void add_state(ParameterCollector& to, const LayerShape& layer);
/// Adds the tensors that only one family of models has.
void add_family(ParameterCollector& to);

/// The tensors of text decoder, embeddings and head, for a config.json. `shape` must have its
/// layers. Empty if not all tensors of the architecture are known.
[[nodiscard]] std::vector<Parameter> make_parameters(const Figures& figures,
                                                     const ModelShape& shape);

/// The number of parameters of a layer of this shape; `nullopt` if it overflows.
[[nodiscard]] std::optional<std::uint64_t> parameters_of_layer(const Figures& figures,
                                                               const ModelShape& shape,
                                                               const LayerShape& layer);

}  // namespace tapedeck::internal
