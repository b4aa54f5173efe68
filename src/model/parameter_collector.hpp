/// @file
/// `ParameterCollector`: the tensors that an architecture implies, kind by kind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "model/architectures.hpp"
#include "model/figures.hpp"
#include "tapedeck/model/model_shape.hpp"

namespace tapedeck::internal {

/// What the tensors of one kind are called, and what they are.
struct ParameterLabel {
  std::string_view name;  ///< A literal.
  PartId id;
};

/// Of tensors that each layer with such a part has.
[[nodiscard]] constexpr ParameterLabel of_layers(std::string_view name, Part part = Part::other,
                                                 Piece piece = Piece::weight) {
  return {name, {.part = part, .piece = piece, .every_layer = true}};
}

[[nodiscard]] constexpr ParameterLabel outside(std::string_view name, Part part = Part::other) {
  return {name, {.part = part}};
}

[[nodiscard]] constexpr ParameterLabel bias_of(ParameterLabel label,
                                               std::string_view name = "bias") {
  label.id.piece = Piece::bias;
  return {name, label.id};
}

/// Collects tensors; those of one name and shape are counted together.
class ParameterCollector {
 public:
  ParameterCollector(const Figures& figures, const Architecture& architecture,
                     const ModelShape& shape);

  void add_outside();
  void add_layer(const LayerShape& layer);
  void add_family();
  [[nodiscard]] std::vector<Parameter> take() && { return std::move(parameters_); }

 private:
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
  /// Weight and, where the architecture has them, biases of a projection.
  void add_projection(const ParameterLabel& label, std::uint64_t rows, std::uint64_t columns,
                      bool bias);

  void add_attention(const LayerShape& layer);
  void add_low_rank_attention(const LayerShape& layer);
  void add_cross_attention();
  void add_query_key_norms(const LayerShape& layer);
  void add_bert();
  void add_layer_inputs();
  void add_gemma3n();
  void add_rwkv7();
  void add_low_rank(std::string_view key, double width, std::uint64_t count, bool bias);
  void add_state(const LayerShape& layer);
  void add_state_kernel(std::uint64_t width, bool bias);
  void add_mamba1(const LayerShape& layer);
  void add_mamba2(const LayerShape& layer);
  void add_gated_delta(const LayerShape& layer);
  void add_dense(std::uint64_t width, bool shared);
  void add_experts(const LayerShape& layer);
  void add_norms(const LayerShape& layer);

  [[nodiscard]] bool says(std::string_view key) const { return figures_.says(key); }
  [[nodiscard]] bool is_of(Family family) const { return architecture_.family == family; }
  /// Of a key that one family has.
  [[nodiscard]] std::uint64_t figure_of_key(std::string_view key, std::uint64_t otherwise) const;

  const Figures& figures_;
  const Architecture& architecture_;
  const ModelShape& shape_;
  const std::uint64_t hidden_;
  bool input_bias_;
  bool output_bias_;
  bool ffn_bias_;

  std::vector<Parameter> parameters_;
  std::map<std::tuple<std::string_view, std::uint64_t, std::uint64_t>, std::size_t> index_;
};

/// Text decoder, embeddings and head of a config's model, whose layers are made already; empty
/// where the table does not know all of its tensors.
[[nodiscard]] std::vector<Parameter> make_parameters(const Figures& figures,
                                                     const Architecture& architecture,
                                                     const ModelShape& shape);

}  // namespace tapedeck::internal
