// The tensors of layers that keep a state, and those that one family of models has alone.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "model/parameter_collector.hpp"

namespace tapedeck::internal {

void ParameterCollector::add_state(const LayerShape& layer) {
  switch (layer.recurrence) {
    case Recurrence::none:
    case Recurrence::rwkv:
      return;
    case Recurrence::mamba1:
      return add_mamba1(layer);
    case Recurrence::mamba2:
      return add_mamba2(layer);
    case Recurrence::gated_delta:
      return add_gated_delta(layer);
    case Recurrence::short_convolution:
      add_matrix(of_layers("layers.convolution.in", Part::recurrent), 3 * hidden_, hidden_);
      add_other(of_layers("layers.convolution.kernel", Part::convolution), hidden_,
                figures_.get(Figure::conv_cache, 0));
      add_matrix(of_layers("layers.convolution.out", Part::recurrent), hidden_, hidden_);
      return;
  }
}

void ParameterCollector::add_state_kernel(std::uint64_t width, bool bias) {
  add_other(of_layers("layers.state.kernel", Part::convolution), width,
            figures_.get(Figure::conv_kernel, 4));
  if (bias) add_bias(of_layers("layers.state.kernel_bias", Part::convolution, Piece::bias), width);
}

// Sources: MambaMixer and Mamba2Mixer of transformers.
void ParameterCollector::add_mamba1(const LayerShape& layer) {
  const std::uint64_t state = figures_.get(Figure::state, 0);
  const std::uint64_t rank = figures_.get(Figure::time_step_rank, (hidden_ + 15) / 16);
  add_matrix(of_layers("layers.state.in", Part::recurrent), 2 * layer.inner, hidden_);
  add_state_kernel(layer.inner, true);
  add_matrix(of_layers("layers.state.x", Part::recurrent), rank + 2 * state, layer.inner);
  add_projection(of_layers("layers.state.dt", Part::recurrent), layer.inner, rank, true);
  add_other(of_layers("layers.state.a", Part::recurrent), layer.inner, state);
  add_other(of_layers("layers.state.d", Part::recurrent), 1, layer.inner);
  add_matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
  if (architecture_.has(kStateNorms)) {  // Jamba's, of the time step and of B and C.
    add_norm(of_layers("layers.state.dt_norm", Part::recurrent_norm), rank);
    add_norm(of_layers("layers.state.bc_norm", Part::recurrent_norm), state, 2);
  }
}

void ParameterCollector::add_mamba2(const LayerShape& layer) {
  const std::uint64_t shared = 2 * figures_.get(Figure::groups, 1) * figures_.get(Figure::state, 0);
  const std::uint64_t size = figures_.get(Figure::state_head_dim, 64);
  const std::uint64_t heads = figures_.get(Figure::state_heads, size == 0 ? 0 : layer.inner / size);
  add_matrix(of_layers("layers.state.in", Part::recurrent), 2 * layer.inner + shared + heads,
             hidden_);
  add_state_kernel(layer.inner + shared, true);
  // A, D and the time step's bias.
  add_other(of_layers("layers.state.head", Part::recurrent), 1, heads, 3);
  // Falcon-H1 has one where it says so.
  const bool beside = architecture_.state.in == States::beside_attention;
  if (!beside || says("mamba_rms_norm"))
    add_norm(of_layers("layers.state.norm", Part::recurrent_norm), layer.inner);
  add_matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
}

// Source: Qwen3NextGatedDeltaNet of transformers.
void ParameterCollector::add_gated_delta(const LayerShape& layer) {
  const std::uint64_t shared = 2 * figures_.get(Figure::groups, 1) * figures_.get(Figure::state, 0);
  const std::uint64_t heads = figures_.get(Figure::state_heads, 0);
  add_matrix(of_layers("layers.state.in", Part::recurrent), shared + 2 * layer.inner, hidden_);
  add_matrix(of_layers("layers.state.ba", Part::recurrent), 2 * heads, hidden_);
  add_state_kernel(shared + layer.inner, false);
  // A and the time step's bias.
  add_other(of_layers("layers.state.head", Part::recurrent), 1, heads, 2);
  add_norm(of_layers("layers.state.norm", Part::recurrent_norm),
           figures_.get(Figure::state_head_dim, 0));
  add_matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
}

// Source: MllamaCrossAttentionDecoderLayer of transformers.
void ParameterCollector::add_cross_attention() {
  const std::uint64_t heads = figures_.get(Figure::heads, 1);
  const std::uint64_t size = heads == 0 ? 0 : hidden_ / heads;
  const std::uint64_t cached = figures_.get(Figure::kv_heads, heads) * size;
  add_matrix(of_layers("layers.cross_attention.q", Part::query), hidden_, hidden_);
  add_matrix(of_layers("layers.cross_attention.k", Part::key), cached, hidden_);
  add_matrix(of_layers("layers.cross_attention.v", Part::value), cached, hidden_);
  add_matrix(of_layers("layers.cross_attention.output", Part::attention_output), hidden_, hidden_);
  // Of queries and keys.
  add_norm(of_layers("layers.cross_attention.norm", Part::attention_inner_norm), size, 2);
  add_other(of_layers("layers.cross_attention.gate", Part::attention_other), 1, 1, 2);
}

// Source: BertEmbeddings and BertPooler of transformers.
void ParameterCollector::add_bert() {
  add_parameter(outside("token_types", Part::embedding), ParameterKind::embedding,
                figure_of_key("type_vocab_size", 2), hidden_);
  add_projection(outside("pooler"), hidden_, hidden_, true);
}

// Source: Gemma3nTextModel and Gemma4TextModel of transformers, and their layers.
void ParameterCollector::add_layer_inputs() {
  // Gemma 3n has them where its config is silent.
  const std::uint64_t width =
      figure_of_key("hidden_size_per_layer_input", is_of(Family::gemma3n) ? 256 : 0);
  if (width == 0) return;
  const std::uint64_t layers = shape_.layers.size();
  const std::uint64_t rows = figure_of_key("vocab_size_per_layer_input", 262'144);
  add_parameter(outside("layer_embedding", Part::embedding), ParameterKind::embedding, rows,
                layers * width);
  add_matrix(outside("layer_projection"), layers * width, hidden_);
  add_norm(outside("layer_projection_norm", Part::norm), width);
  add_matrix(of_layers("layers.input_gate"), width, hidden_, layers);
  add_matrix(of_layers("layers.input_projection"), hidden_, width, layers);
  add_norm(of_layers("layers.input_norm", Part::norm), hidden_, layers);
}

// Source: Gemma3nTextAltUp and Gemma3nTextLaurelBlock of transformers.
void ParameterCollector::add_gemma3n() {
  const std::uint64_t layers = shape_.layers.size();
  const std::uint64_t streams = figure_of_key("altup_num_inputs", 4);
  const std::uint64_t rank = figure_of_key("laurel_rank", 64);
  if (streams == 0) return;
  add_matrix(outside("streams"), hidden_, hidden_, 2 * (streams - 1));  // there and back
  add_other(of_layers("layers.streams.correction"), streams, streams, layers);
  add_other(of_layers("layers.streams.prediction"), streams * streams, streams, layers);
  add_matrix(of_layers("layers.streams.router"), streams, hidden_, layers);
  add_norm(of_layers("layers.streams.norm", Part::norm), hidden_, layers);
  add_other(of_layers("layers.streams.scale"), 1, hidden_, layers);
  add_matrix(of_layers("layers.laurel.left"), rank, hidden_, layers);
  add_matrix(of_layers("layers.laurel.right"), hidden_, rank, layers);
  add_norm(of_layers("layers.laurel.norm", Part::norm), hidden_, layers);
}

// A vector made from another one through few dimensions, in `count` layers. Where the config is
// silent, their number follows from the hidden width, as in the model's own code.
void ParameterCollector::add_low_rank(std::string_view key, double width, std::uint64_t count,
                                      bool bias) {
  constexpr std::uint64_t kStep = 32;
  const auto steps = static_cast<std::uint64_t>(std::llround(width / kStep));
  const std::uint64_t rank = figure_of_key(key, kStep * std::max<std::uint64_t>(steps, 1));
  add_matrix(of_layers("layers.mix.gates", Part::recurrent), rank, hidden_, count);
  add_matrix(of_layers("layers.mix.gates", Part::recurrent), hidden_, rank, count);
  if (bias) add_other(of_layers("layers.mix.vectors", Part::recurrent), 1, hidden_, count);
}

// Source: RWKV_Tmix_x070 and RWKV_CMix_x070 of RWKV-LM.
void ParameterCollector::add_rwkv7() {
  const std::uint64_t layers = shape_.layers.size();
  const double root = std::sqrt(static_cast<double>(hidden_));
  // Of queries, keys, values and the output.
  add_matrix(of_layers("layers.mix.projections", Part::recurrent), hidden_, hidden_, 4 * layers);
  // Seven mix a token with the one before; three scale keys, and the bonus of the present token.
  add_other(of_layers("layers.mix.vectors", Part::recurrent), 1, hidden_, (7ULL + 3) * layers);
  add_norm(of_layers("layers.mix.norm", Part::recurrent_norm), hidden_, layers);
  add_low_rank("decay_low_rank_dim", 1.8 * root, layers, true);
  add_low_rank("a_low_rank_dim", 1.8 * root, layers, true);
  add_low_rank("v_low_rank_dim", 1.3 * root, layers - 1, true);  // The first layer's are mixed in.
  add_low_rank("gate_low_rank_dim", 0.6 * std::pow(static_cast<double>(hidden_), 0.8), layers,
               false);
}

void ParameterCollector::add_family() {
  constexpr std::uint64_t kImageTokens = 8;  // Rows of the embedding that the head has not.
  switch (architecture_.family) {
    case Family::none:
    case Family::olmo:
      return;
    case Family::bert:
      return add_bert();
    case Family::rwkv7:
      return add_rwkv7();
    case Family::gemma3n:
      add_gemma3n();
      return add_layer_inputs();
    case Family::gemma4:
      return add_layer_inputs();
    case Family::mllama:
      add_parameter(outside("image_embedding", Part::embedding), ParameterKind::embedding,
                    kImageTokens, hidden_);
      return;
  }
}

}  // namespace tapedeck::internal
