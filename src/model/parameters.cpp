#include "model/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace tapedeck::internal {
namespace {

/// What the tensors of one kind are called, and what they are.
struct Label {
  std::string_view name;  ///< A literal.
  PartId id;
};

/// Of tensors that each layer with such a part has.
constexpr Label of_layers(std::string_view name, Part part, Piece piece = Piece::weight) {
  return {name, {.part = part, .piece = piece, .every_layer = true}};
}

constexpr Label outside(std::string_view name, Part part = Part::other) {
  return {name, {.part = part}};
}

constexpr Label bias_of(Label label, std::string_view name = "bias") {
  label.id.piece = Piece::bias;
  return {name, label.id};
}

/// Collects tensors; those of one name and shape are counted together.
class Collector {
 public:
  Collector(const Figures& figures, const Architecture& architecture, const ModelShape& shape);

  void add_outside();
  void add_layer(const LayerShape& layer);
  void add_family();
  [[nodiscard]] std::vector<Parameter> take() && { return std::move(parameters_); }

 private:
  void add(const Label& label, ParameterKind kind, std::uint64_t rows, std::uint64_t columns,
           std::uint64_t count = 1);
  void matrix(const Label& label, std::uint64_t rows, std::uint64_t columns) {
    add(label, ParameterKind::matrix, rows, columns);
  }
  void vector(const Label& label, ParameterKind kind, std::uint64_t elements) {
    add(label, kind, 1, elements);
  }
  void norm(const Label& label, std::uint64_t width, std::uint64_t count = 1);
  /// Weight and, where the architecture has them, biases of a projection.
  void projection(const Label& label, std::uint64_t rows, std::uint64_t columns, bool bias);

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
  void add_mamba1(const LayerShape& layer);
  void add_mamba2(const LayerShape& layer);
  void add_gated_delta(const LayerShape& layer);
  void add_dense(std::uint64_t width, bool shared);
  void add_experts(const LayerShape& layer);
  void add_norms(const LayerShape& layer);

  [[nodiscard]] bool says(std::string_view key) const { return figures_.flag(key).value_or(false); }
  [[nodiscard]] bool is(Family family) const { return architecture_.family == family; }
  /// Of a key that one family has.
  [[nodiscard]] std::uint64_t number(std::string_view key, std::uint64_t otherwise) const;

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

Collector::Collector(const Figures& figures, const Architecture& architecture,
                     const ModelShape& shape)
    : figures_(figures),
      architecture_(architecture),
      shape_(shape),
      hidden_(shape.hidden),
      input_bias_(architecture.has(kQkvBias)),
      output_bias_(architecture.has(kOutputBias)),
      ffn_bias_(architecture.has(kFfnBias) || says("mlp_bias")) {
  const bool all = says("attention_bias") || says("bias");
  input_bias_ |= all || says("use_qkv_bias") || says("add_qkv_bias");
  output_bias_ |= all && !architecture.has(kInputBiasOnly);
}

void Collector::add(const Label& label, ParameterKind kind, std::uint64_t rows,
                    std::uint64_t columns, std::uint64_t count) {
  if (rows == 0 || columns == 0 || count == 0) return;
  const auto [at, added] = index_.try_emplace({label.name, rows, columns}, parameters_.size());
  if (added) parameters_.push_back({std::string(label.name), kind, 0, rows, columns, label.id});
  parameters_[at->second].count += count;
}

std::uint64_t Collector::number(std::string_view key, std::uint64_t otherwise) const {
  const auto stated = figures_.real(key);
  if (!stated) return otherwise;
  const bool honest = *stated >= 0 && *stated <= static_cast<double>(Figures::kLargest);
  if (!honest) figures_.refuse(*figures_.entry(key), "is beyond any model");
  return static_cast<std::uint64_t>(*stated);
}

void Collector::norm(const Label& label, std::uint64_t width, std::uint64_t count) {
  if (is(Family::olmo)) return;
  add(label, ParameterKind::norm, 1, width, count);
  if (architecture_.has(kNormBias)) {
    add(bias_of(label, "norm_bias"), ParameterKind::bias, 1, width, count);
  }
}

void Collector::projection(const Label& label, std::uint64_t rows, std::uint64_t columns,
                           bool bias) {
  matrix(label, rows, columns);
  if (bias) vector(bias_of(label), ParameterKind::bias, rows);
}

void Collector::add_outside() {
  add(outside("embedding", Part::embedding), ParameterKind::embedding, shape_.vocabulary, hidden_);
  if (architecture_.has(kPositions)) {
    constexpr std::uint64_t kOptOffset = 2;  // OPT leaves two rows of the table unused.
    const std::uint64_t rows =
        shape_.context + (architecture_.has(kOffsetPositions) ? kOptOffset : 0);
    add(outside("positions", Part::position_embedding), ParameterKind::embedding, rows, hidden_);
  }
  if (architecture_.has(kEmbeddingNorm)) {
    norm(outside("embedding_norm", Part::embedding_norm), hidden_);
  }
  if (!is(Family::bert)) norm(outside("final_norm", Part::final_norm), hidden_);
  if (!shape_.tied) {
    add(outside("head", Part::head), ParameterKind::head, shape_.vocabulary, hidden_);
  }
  if (architecture_.has(kHeadBias) || says("lm_head_bias")) {
    vector(bias_of(outside("head", Part::head), "head_bias"), ParameterKind::bias,
           shape_.vocabulary);
  }
}

void Collector::add_layer(const LayerShape& layer) {
  add_norms(layer);
  // What Llama 3.2 attends to in such a layer is an image.
  if (is(Family::mllama) && layer.attention == Attention::none) add_cross_attention();
  if (layer.attention != Attention::none) {
    if (architecture_.has(kLowRank)) {
      add_low_rank_attention(layer);
    } else {
      add_attention(layer);
    }
  }
  add_state(layer);
  add_dense(layer.ffn, false);
  if (layer.experts != 0) add_experts(layer);
}

// One before each part, and one after it where there are four.
void Collector::add_norms(const LayerShape& layer) {
  const bool mixes = layer.attention != Attention::none || layer.recurrence != Recurrence::none ||
                     is(Family::mllama);
  const bool feeds = layer.ffn != 0 || layer.experts != 0;
  std::uint64_t parts = (mixes ? 1U : 0U) + (feeds ? 1U : 0U);
  // Falcon-7B's parts stand side by side, behind one norm; later Falcons have two again.
  const bool beside = says("parallel_attn") && !says("new_decoder_architecture");
  if (architecture_.has(kOneNorm) || beside) parts = 1;
  norm(of_layers("layers.norm", Part::norm), hidden_,
       architecture_.has(kFourNorms) ? 2 * parts : parts);
}

void Collector::add_attention(const LayerShape& layer) {
  const std::uint64_t queries = layer.heads * layer.key_dim;
  projection(of_layers("layers.attention.q", Part::query),
             architecture_.has(kOutputGate) ? 2 * queries : queries, hidden_, input_bias_);
  projection(of_layers("layers.attention.k", Part::key), layer.kv_heads * layer.key_dim, hidden_,
             input_bias_);
  // In Gemma 4's wide layers V may be K.
  const bool one = says("attention_k_eq_v") && layer.attention == Attention::full;
  const std::uint64_t values = one ? 0 : layer.kv_heads * layer.value_dim;
  projection(of_layers("layers.attention.v", Part::value), values, hidden_, input_bias_);
  projection(of_layers("layers.attention.output", Part::attention_output), hidden_,
             layer.heads * layer.value_dim, output_bias_);
  add_query_key_norms(layer);
  const bool windowed = layer.attention == Attention::windowed;
  const bool asked = says(windowed ? "add_swa_attention_sink_bias"  // MiMo-V2
                                   : "add_full_attention_sink_bias");
  if (architecture_.has(kSinks) || asked) {
    vector(of_layers("layers.attention.sinks", Part::attention_other), ParameterKind::other,
           layer.heads);
  }
}

void Collector::add_query_key_norms(const LayerShape& layer) {
  const bool asked = architecture_.has(kOptionalHeadNorms) && says("use_qk_norm");
  if (architecture_.has(kHeadNorms) || asked) {
    norm(of_layers("layers.attention.q_norm", Part::attention_inner_norm), layer.key_dim);
    norm(of_layers("layers.attention.k_norm", Part::attention_inner_norm), layer.key_dim);
  }
  if (architecture_.has(kWideNorms)) {
    norm(of_layers("layers.attention.q_norm", Part::attention_inner_norm),
         layer.heads * layer.key_dim);
    norm(of_layers("layers.attention.k_norm", Part::attention_inner_norm),
         layer.kv_heads * layer.key_dim);
  }
}

// Source: MllamaCrossAttentionDecoderLayer of transformers.
void Collector::add_cross_attention() {
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
void Collector::add_bert() {
  add(outside("token_types", Part::embedding), ParameterKind::embedding,
      number("type_vocab_size", 2), hidden_);
  projection(outside("pooler"), hidden_, hidden_, true);
}

// Source: Gemma3nTextModel and Gemma4TextModel of transformers, and their layers.
void Collector::add_layer_inputs() {
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
void Collector::add_gemma3n() {
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
void Collector::add_low_rank(std::string_view key, double width, std::uint64_t count, bool bias) {
  constexpr std::uint64_t kStep = 32;
  const auto steps = static_cast<std::uint64_t>(std::llround(width / kStep));
  const std::uint64_t rank = number(key, kStep * std::max<std::uint64_t>(steps, 1));
  add(of_layers("layers.mix.gates", Part::recurrent), ParameterKind::matrix, rank, hidden_, count);
  add(of_layers("layers.mix.gates", Part::recurrent), ParameterKind::matrix, hidden_, rank, count);
  if (bias)
    add(of_layers("layers.mix.vectors", Part::recurrent), ParameterKind::other, 1, hidden_, count);
}

// Source: RWKV_Tmix_x070 and RWKV_CMix_x070 of RWKV-LM.
void Collector::add_rwkv7() {
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

void Collector::add_family() {
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

// Source: DeepseekV3Attention of transformers.
void Collector::add_low_rank_attention(const LayerShape& layer) {
  const std::uint64_t nope = figures_.get(Figure::nope_dim, 0);
  const std::uint64_t rope = figures_.get(Figure::rope_dim, 0);
  const std::uint64_t value = figures_.get(Figure::value_dim, hidden_ / layer.heads);
  const std::uint64_t rank = figures_.get(Figure::kv_lora, 0);
  const std::uint64_t queries = layer.heads * (nope + rope);
  if (const auto query_rank = figures_.find(Figure::q_lora)) {
    matrix(of_layers("layers.attention.q_a", Part::query_low_rank), *query_rank, hidden_);
    norm(of_layers("layers.attention.q_a_norm", Part::attention_inner_norm), *query_rank);
    matrix(of_layers("layers.attention.q_b", Part::query), queries, *query_rank);
  } else {
    matrix(of_layers("layers.attention.q", Part::query), queries, hidden_);
  }
  matrix(of_layers("layers.attention.kv_a", Part::latent), rank + rope, hidden_);
  norm(of_layers("layers.attention.kv_a_norm", Part::attention_inner_norm), rank);
  matrix(of_layers("layers.attention.kv_b", Part::latent_key_value), layer.heads * (nope + value),
         rank);
  matrix(of_layers("layers.attention.output", Part::attention_output), hidden_,
         layer.heads * value);
}

void Collector::add_state(const LayerShape& layer) {
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
      matrix(of_layers("layers.convolution.in", Part::recurrent), 3 * hidden_, hidden_);
      add(of_layers("layers.convolution.kernel", Part::convolution), ParameterKind::other, hidden_,
          figures_.get(Figure::conv_cache, 0));
      matrix(of_layers("layers.convolution.out", Part::recurrent), hidden_, hidden_);
      return;
  }
}

// Sources: MambaMixer and Mamba2Mixer of transformers.
void Collector::add_mamba1(const LayerShape& layer) {
  const std::uint64_t state = figures_.get(Figure::state, 0);
  const std::uint64_t rank = figures_.get(Figure::time_step_rank, (hidden_ + 15) / 16);
  matrix(of_layers("layers.state.in", Part::recurrent), 2 * layer.inner, hidden_);
  add(of_layers("layers.state.kernel", Part::convolution), ParameterKind::other, layer.inner,
      figures_.get(Figure::conv_kernel, 4));
  vector(of_layers("layers.state.kernel_bias", Part::convolution, Piece::bias), ParameterKind::bias,
         layer.inner);
  matrix(of_layers("layers.state.x", Part::recurrent), rank + 2 * state, layer.inner);
  projection(of_layers("layers.state.dt", Part::recurrent), layer.inner, rank, true);
  add(of_layers("layers.state.a", Part::recurrent), ParameterKind::other, layer.inner, state);
  vector(of_layers("layers.state.d", Part::recurrent), ParameterKind::other, layer.inner);
  matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
  if (architecture_.has(kStateNorms)) {  // Jamba's, of the time step and of B and C.
    norm(of_layers("layers.state.dt_norm", Part::recurrent_norm), rank);
    norm(of_layers("layers.state.bc_norm", Part::recurrent_norm), state, 2);
  }
}

void Collector::add_mamba2(const LayerShape& layer) {
  const std::uint64_t shared = 2 * figures_.get(Figure::groups, 1) * figures_.get(Figure::state, 0);
  const std::uint64_t size = figures_.get(Figure::state_head_dim, 64);
  const std::uint64_t heads = figures_.get(Figure::state_heads, size == 0 ? 0 : layer.inner / size);
  matrix(of_layers("layers.state.in", Part::recurrent), 2 * layer.inner + shared + heads, hidden_);
  add(of_layers("layers.state.kernel", Part::convolution), ParameterKind::other,
      layer.inner + shared, figures_.get(Figure::conv_kernel, 4));
  vector(of_layers("layers.state.kernel_bias", Part::convolution, Piece::bias), ParameterKind::bias,
         layer.inner + shared);
  add(of_layers("layers.state.head", Part::recurrent), ParameterKind::other, 1, heads,
      3);  // A, D and the time step's bias
  // Falcon-H1 has one where it says so.
  const bool beside = architecture_.states == States::beside_attention;
  if (!beside || says("mamba_rms_norm"))
    norm(of_layers("layers.state.norm", Part::recurrent_norm), layer.inner);
  matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
}

// Source: Qwen3NextGatedDeltaNet of transformers.
void Collector::add_gated_delta(const LayerShape& layer) {
  const std::uint64_t shared = 2 * figures_.get(Figure::groups, 1) * figures_.get(Figure::state, 0);
  const std::uint64_t heads = figures_.get(Figure::state_heads, 0);
  matrix(of_layers("layers.state.in", Part::recurrent), shared + 2 * layer.inner, hidden_);
  matrix(of_layers("layers.state.ba", Part::recurrent), 2 * heads, hidden_);
  add(of_layers("layers.state.kernel", Part::convolution), ParameterKind::other,
      shared + layer.inner, figures_.get(Figure::conv_kernel, 4));
  add(of_layers("layers.state.head", Part::recurrent), ParameterKind::other, 1, heads,
      2);  // A and the time step's bias
  norm(of_layers("layers.state.norm", Part::recurrent_norm),
       figures_.get(Figure::state_head_dim, 0));
  matrix(of_layers("layers.state.out", Part::recurrent), hidden_, layer.inner);
}

void Collector::add_dense(std::uint64_t width, bool shared) {
  if (width == 0) return;
  const bool gated = !architecture_.has(kPlainFfn);
  const Label in =
      shared ? of_layers("layers.shared_expert", gated ? Part::shared_gate_up : Part::shared_up)
             : of_layers("layers.ffn", gated ? Part::gate_up : Part::up);
  add(in, ParameterKind::matrix, width, hidden_, gated ? 2 : 1);
  const Label out = of_layers("layers.ffn.down", shared ? Part::shared_down : Part::down);
  matrix(out, hidden_, width);
  if (!ffn_bias_) return;
  add(bias_of(in), ParameterKind::bias, 1, width, gated ? 2 : 1);
  vector(bias_of(out), ParameterKind::bias, hidden_);
}

void Collector::add_experts(const LayerShape& layer) {
  const std::uint64_t branches = architecture_.has(kPlainFfn) ? 1 : 2;
  matrix(of_layers("layers.router", Part::router), layer.experts, hidden_);
  const bool corrected = architecture_.has(kRouterCorrection) || says("use_routing_bias") ||
                         figures_.text("topk_method") == "noaux_tc";
  if (architecture_.has(kRouterBias) || corrected) {
    vector(of_layers("layers.router_bias", Part::router, Piece::bias), ParameterKind::bias,
           layer.experts);
  }
  const Label in =
      of_layers("layers.experts", branches == 1 ? Part::expert_up : Part::expert_gate_up);
  const Label out = of_layers("layers.experts.down", Part::expert_down);
  add(in, ParameterKind::expert, layer.expert_ffn, hidden_, branches * layer.experts);
  add(out, ParameterKind::expert, hidden_, layer.expert_ffn, layer.experts);
  if (architecture_.has(kExpertBias)) {
    add(bias_of(in), ParameterKind::bias, 1, layer.expert_ffn, branches * layer.experts);
    add(bias_of(out), ParameterKind::bias, 1, hidden_, layer.experts);
  }
  add_dense(layer.shared_ffn, true);
  if (architecture_.has(kSharedGate) && layer.shared_ffn != 0) {
    matrix(of_layers("layers.shared_expert.gate", Part::shared_other), 1, hidden_);
  }
}

}  // namespace

std::vector<Parameter> make_parameters(const Figures& figures, const Architecture& architecture,
                                       const ModelShape& shape) {
  if (architecture.has(kUnknownParameters)) return {};
  // The experts of Gemma 4 stand beside a dense part, which no rule here knows.
  if (figures.flag("enable_moe_block").value_or(false)) return {};
  Collector collector(figures, architecture, shape);
  collector.add_outside();
  for (const LayerShape& layer : shape.layers) collector.add_layer(layer);
  collector.add_family();
  return std::move(collector).take();
}

}  // namespace tapedeck::internal
