// The tensors that one family of models has alone.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "model/parameter_collector.hpp"

namespace tapedeck::internal {

// Source: MllamaCrossAttentionDecoderLayer of transformers.
void ParameterCollector::add_cross_attention() {
  const std::uint64_t heads = figures_.get(Figure::heads, 1);
  const std::uint64_t size = heads == 0 ? 0 : hidden_ / heads;
  const std::uint64_t cached = figures_.get(Figure::kv_heads, heads) * size;
  matrix(of_layers("layers.cross_attention.q", Part::query), hidden_, hidden_);
  matrix(of_layers("layers.cross_attention.k", Part::key), cached, hidden_);
  matrix(of_layers("layers.cross_attention.v", Part::value), cached, hidden_);
  matrix(of_layers("layers.cross_attention.output", Part::attention_output), hidden_, hidden_);
  norm(of_layers("layers.cross_attention.norm", Part::attention_inner_norm), size,
       2);  // of queries and keys
  add(of_layers("layers.cross_attention.gate", Part::attention_other), ParameterKind::other, 1, 1,
      2);
}

// Source: BertEmbeddings and BertPooler of transformers.
void ParameterCollector::add_bert() {
  add(outside("token_types", Part::embedding), ParameterKind::embedding,
      number("type_vocab_size", 2), hidden_);
  projection(outside("pooler"), hidden_, hidden_, true);
}

// Source: Gemma3nTextModel and Gemma4TextModel of transformers, and their layers.
void ParameterCollector::add_layer_inputs() {
  // Gemma 3n has them where its config is silent.
  const std::uint64_t width = number("hidden_size_per_layer_input", is(Family::gemma3n) ? 256 : 0);
  if (width == 0) return;
  const std::uint64_t layers = shape_.layers.size();
  const std::uint64_t rows = number("vocab_size_per_layer_input", 262'144);
  add(outside("layer_embedding", Part::embedding), ParameterKind::embedding, rows, layers * width);
  matrix(outside("layer_projection"), layers * width, hidden_);
  norm(outside("layer_projection_norm", Part::norm), width);
  add(of_layers("layers.input_gate", Part::other), ParameterKind::matrix, width, hidden_, layers);
  add(of_layers("layers.input_projection", Part::other), ParameterKind::matrix, hidden_, width,
      layers);
  norm(of_layers("layers.input_norm", Part::norm), hidden_, layers);
}

// Source: Gemma3nTextAltUp and Gemma3nTextLaurelBlock of transformers.
void ParameterCollector::add_gemma3n() {
  const std::uint64_t layers = shape_.layers.size();
  const std::uint64_t streams = number("altup_num_inputs", 4);
  const std::uint64_t rank = number("laurel_rank", 64);
  if (streams == 0) return;
  add(outside("streams"), ParameterKind::matrix, hidden_, hidden_,
      2 * (streams - 1));  // there and back
  add(of_layers("layers.streams.correction", Part::other), ParameterKind::other, streams, streams,
      layers);
  add(of_layers("layers.streams.prediction", Part::other), ParameterKind::other, streams * streams,
      streams, layers);
  add(of_layers("layers.streams.router", Part::other), ParameterKind::matrix, streams, hidden_,
      layers);
  norm(of_layers("layers.streams.norm", Part::norm), hidden_, layers);
  add(of_layers("layers.streams.scale", Part::other), ParameterKind::other, 1, hidden_, layers);
  add(of_layers("layers.laurel.left", Part::other), ParameterKind::matrix, rank, hidden_, layers);
  add(of_layers("layers.laurel.right", Part::other), ParameterKind::matrix, hidden_, rank, layers);
  norm(of_layers("layers.laurel.norm", Part::norm), hidden_, layers);
}

// A vector made from another one through few dimensions, in `count` layers. Where the config is
// silent, their number follows from the hidden width, as in the model's own code.
void ParameterCollector::add_low_rank(std::string_view key, double width, std::uint64_t count,
                                      bool bias) {
  constexpr std::uint64_t kStep = 32;
  const auto steps = static_cast<std::uint64_t>(std::llround(width / kStep));
  const std::uint64_t rank = number(key, kStep * std::max<std::uint64_t>(steps, 1));
  add(of_layers("layers.mix.gates", Part::recurrent), ParameterKind::matrix, rank, hidden_, count);
  add(of_layers("layers.mix.gates", Part::recurrent), ParameterKind::matrix, hidden_, rank, count);
  if (bias)
    add(of_layers("layers.mix.vectors", Part::recurrent), ParameterKind::other, 1, hidden_, count);
}

// Source: RWKV_Tmix_x070 and RWKV_CMix_x070 of RWKV-LM.
void ParameterCollector::add_rwkv7() {
  const std::uint64_t layers = shape_.layers.size();
  const double root = std::sqrt(static_cast<double>(hidden_));
  // Of queries, keys, values and the output.
  add(of_layers("layers.mix.projections", Part::recurrent), ParameterKind::matrix, hidden_, hidden_,
      4 * layers);
  // Seven mix a token with the one before; three scale keys, and the bonus of the present token.
  add(of_layers("layers.mix.vectors", Part::recurrent), ParameterKind::other, 1, hidden_,
      (7ULL + 3) * layers);
  norm(of_layers("layers.mix.norm", Part::recurrent_norm), hidden_, layers);
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
      add(outside("image_embedding", Part::embedding), ParameterKind::embedding, kImageTokens,
          hidden_);
      return;
  }
}

}  // namespace tapedeck::internal
