// SPDX-License-Identifier: Apache-2.0
// The tensors of recurrent layers, and those that only one family of models has.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "model/parameter_collector.hpp"

namespace tapedeck::internal {
namespace {

void add_state_kernel(ParameterCollector& to, std::uint64_t width, bool bias) {
  to.add_other({"layers.state.kernel", Part::convolution}, width,
               to.figures.get(Figure::conv_kernel, 4));
  if (bias) to.add_bias({"layers.state.kernel_bias", Part::convolution, Piece::bias}, width);
}

// Sources: MambaMixer and Mamba2Mixer of transformers.
void add_mamba1(ParameterCollector& to, const LayerShape& layer) {
  const std::uint64_t state = to.figures.get(Figure::state, 0);
  const std::uint64_t rank = to.figures.get(Figure::time_step_rank, (to.hidden + 15) / 16);
  to.add_matrix({"layers.state.in", Part::recurrent}, 2 * layer.inner, to.hidden);
  add_state_kernel(to, layer.inner, true);
  to.add_matrix({"layers.state.x", Part::recurrent}, rank + 2 * state, layer.inner);
  to.add_projection({"layers.state.dt", Part::recurrent}, layer.inner, rank, true);
  to.add_other({"layers.state.a", Part::recurrent}, layer.inner, state);
  to.add_other({"layers.state.d", Part::recurrent}, 1, layer.inner);
  to.add_matrix({"layers.state.out", Part::recurrent}, to.hidden, layer.inner);
  if (to.has(kStateNorms)) {  // Jamba norms the time step, B and C.
    to.add_norm({"layers.state.dt_norm", Part::recurrent_norm}, rank);
    to.add_norm({"layers.state.bc_norm", Part::recurrent_norm}, state, 2);
  }
}

void add_mamba2(ParameterCollector& to, const LayerShape& layer) {
  to.figures.consider(Figure::time_step_rank);  // The time step is not low-rank here.
  const std::uint64_t shared =
      2 * to.figures.get(Figure::groups, 1) * to.figures.get(Figure::state, 0);
  const std::uint64_t size = to.figures.get(Figure::state_head_dim, 64);
  const std::uint64_t heads =
      to.figures.get(Figure::state_heads, size == 0 ? 0 : layer.inner / size);
  to.add_matrix({"layers.state.in", Part::recurrent}, 2 * layer.inner + shared + heads, to.hidden);
  add_state_kernel(to, layer.inner + shared, true);
  // A, D and the bias of the time step.
  to.add_other({"layers.state.head", Part::recurrent}, 1, heads, 3);
  // Falcon-H1 has this norm only if its config says so.
  const bool beside = to.figures.architecture().state.in == States::beside_attention;
  if (!beside || to.says("mamba_rms_norm"))
    to.add_norm({"layers.state.norm", Part::recurrent_norm}, layer.inner);
  to.add_matrix({"layers.state.out", Part::recurrent}, to.hidden, layer.inner);
}

// Source: Qwen3NextGatedDeltaNet of transformers.
void add_gated_delta(ParameterCollector& to, const LayerShape& layer) {
  const std::uint64_t shared =
      2 * to.figures.get(Figure::groups, 1) * to.figures.get(Figure::state, 0);
  const std::uint64_t heads = to.figures.get(Figure::state_heads, 0);
  to.add_matrix({"layers.state.in", Part::recurrent}, shared + 2 * layer.inner, to.hidden);
  to.add_matrix({"layers.state.ba", Part::recurrent}, 2 * heads, to.hidden);
  add_state_kernel(to, shared + layer.inner, false);
  // A and the bias of the time step.
  to.add_other({"layers.state.head", Part::recurrent}, 1, heads, 2);
  to.add_norm({"layers.state.norm", Part::recurrent_norm},
              to.figures.get(Figure::state_head_dim, 0));
  to.add_matrix({"layers.state.out", Part::recurrent}, to.hidden, layer.inner);
}

// Source: BertEmbeddings and BertPooler of transformers.
void add_bert(ParameterCollector& to) {
  to.add_parameter(outside("token_types", Part::embedding), ParameterKind::embedding,
                   to.figure_of_key("type_vocab_size", 2), to.hidden);
  to.add_projection(outside("pooler"), to.hidden, to.hidden, true);
}

// Source: Gemma3nTextModel and Gemma4TextModel of transformers, and the layers of both.
void add_layer_inputs(ParameterCollector& to) {
  // Gemma 3n has layer inputs even if its config does not state their width.
  const std::uint64_t width =
      to.figure_of_key("hidden_size_per_layer_input", to.is_of(Family::gemma3n) ? 256 : 0);
  const std::uint64_t rows = to.figure_of_key("vocab_size_per_layer_input", 262'144);
  if (width == 0) return;
  const std::uint64_t layers = to.shape.layers.size();
  to.add_parameter(outside("layer_embedding", Part::embedding), ParameterKind::embedding, rows,
                   layers * width);
  to.add_matrix(outside("layer_projection"), layers * width, to.hidden);
  to.add_norm(outside("layer_projection_norm", Part::norm), width);
  to.add_matrix({"layers.input_gate"}, width, to.hidden, layers);
  to.add_matrix({"layers.input_projection"}, to.hidden, width, layers);
  to.add_norm({"layers.input_norm", Part::norm}, to.hidden, layers);
}

// Source: Gemma3nTextAltUp and Gemma3nTextLaurelBlock of transformers.
void add_gemma3n(ParameterCollector& to) {
  const std::uint64_t layers = to.shape.layers.size();
  const std::uint64_t streams = to.figure_of_key("altup_num_inputs", 4);
  const std::uint64_t rank = to.figure_of_key("laurel_rank", 64);
  if (streams == 0) return;
  to.add_matrix(outside("streams"), to.hidden, to.hidden, 2 * (streams - 1));  // there and back
  to.add_other({"layers.streams.correction"}, streams, streams, layers);
  to.add_other({"layers.streams.prediction"}, streams * streams, streams, layers);
  to.add_matrix({"layers.streams.router"}, streams, to.hidden, layers);
  to.add_norm({"layers.streams.norm", Part::norm}, to.hidden, layers);
  to.add_other({"layers.streams.scale"}, 1, to.hidden, layers);
  to.add_matrix({"layers.laurel.left"}, rank, to.hidden, layers);
  to.add_matrix({"layers.laurel.right"}, to.hidden, rank, layers);
  to.add_norm({"layers.laurel.norm", Part::norm}, to.hidden, layers);
}

// A low-rank projection in `count` layers. A rank that the config does not state follows from the
// hidden width, as in the model's own code.
void add_low_rank(ParameterCollector& to, std::string_view key, double width, std::uint64_t count,
                  bool bias) {
  constexpr std::uint64_t kStep = 32;
  const auto steps = static_cast<std::uint64_t>(std::llround(width / kStep));
  const std::uint64_t rank = to.figure_of_key(key, kStep * std::max<std::uint64_t>(steps, 1));
  to.add_matrix({"layers.mix.gates", Part::recurrent}, rank, to.hidden, count);
  to.add_matrix({"layers.mix.gates", Part::recurrent}, to.hidden, rank, count);
  if (bias) to.add_other({"layers.mix.vectors", Part::recurrent}, 1, to.hidden, count);
}

// Source: RWKV_Tmix_x070 and RWKV_CMix_x070 of RWKV-LM.
void add_rwkv7(ParameterCollector& to) {
  const std::uint64_t layers = to.shape.layers.size();
  const double root = std::sqrt(static_cast<double>(to.hidden));
  // The projections of queries, keys, values and the output.
  to.add_matrix({"layers.mix.projections", Part::recurrent}, to.hidden, to.hidden, 4 * layers);
  // Seven vectors mix a token with the previous one. Three scale the keys and the bonus of the
  // current token.
  to.add_other({"layers.mix.vectors", Part::recurrent}, 1, to.hidden, (7ULL + 3) * layers);
  to.add_norm({"layers.mix.norm", Part::recurrent_norm}, to.hidden, layers);
  add_low_rank(to, "decay_low_rank_dim", 1.8 * root, layers, true);
  add_low_rank(to, "a_low_rank_dim", 1.8 * root, layers, true);
  // The first layer has none, because its values are mixed into the others.
  add_low_rank(to, "v_low_rank_dim", 1.3 * root, layers - 1, true);
  add_low_rank(to, "gate_low_rank_dim", 0.6 * std::pow(static_cast<double>(to.hidden), 0.8), layers,
               false);
}

}  // namespace

void add_state(ParameterCollector& to, const LayerShape& layer) {
  switch (layer.recurrence) {
    case Recurrence::none:
    case Recurrence::rwkv:
      return;
    case Recurrence::mamba1:
      return add_mamba1(to, layer);
    case Recurrence::mamba2:
      return add_mamba2(to, layer);
    case Recurrence::gated_delta:
      return add_gated_delta(to, layer);
    case Recurrence::short_convolution:
      to.add_matrix({"layers.convolution.in", Part::recurrent}, 3 * to.hidden, to.hidden);
      to.add_other({"layers.convolution.kernel", Part::convolution}, to.hidden,
                   to.figures.get(Figure::conv_cache, 0));
      to.add_matrix({"layers.convolution.out", Part::recurrent}, to.hidden, to.hidden);
      return;
  }
}

void add_family(ParameterCollector& to) {
  constexpr std::uint64_t kImageTokens =
      8;  // Rows of the embedding table that the head does not have.
  switch (to.figures.architecture().family) {
    case Family::none:
    case Family::olmo:
    case Family::opt:
      return;
    case Family::bert:
      return add_bert(to);
    case Family::rwkv7:
      return add_rwkv7(to);
    case Family::gemma3n:
      add_gemma3n(to);
      return add_layer_inputs(to);
    case Family::gemma4:
      return add_layer_inputs(to);
    case Family::mllama:
      to.add_parameter(outside("image_embedding", Part::embedding), ParameterKind::embedding,
                       kImageTokens, to.hidden);
      return;
  }
}

}  // namespace tapedeck::internal
